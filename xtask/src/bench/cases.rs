use super::{
    Programs, kernel, plugins, profile,
    report::{Bar, Row, median},
    worker::Worker,
};
use crate::process::{output, succeed};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A case's name and what measures it.
type Case = (&'static str, fn(&Programs) -> Result<Vec<Row>>);

/// What is measured, in the order of the report.
pub(super) const CASES: &[Case] = &[
    ("burst", burst),
    ("storm", storm),
    ("drain", drain),
    ("stream", stream),
    ("lookup", lookup),
    ("shared value", shared_value),
    ("start", start),
    ("inspect", plugins::inspect),
    ("hooks", plugins::hooks),
    ("filter", profile::filter),
    ("replay", profile::replay),
    ("trace", profile::trace),
    ("sampling", profile::sampling),
    ("wasm in the kernel", kernel::wasm),
];

/// One system call, a hundred records: all of them arrive.
fn burst(programs: &Programs) -> Result<Vec<Row>> {
    const RECORDS: u64 = 100;
    let mut guest = Worker::ready(&mut programs.guest("benches/guests/ring.wasm"))?;
    fire(programs, 1, RECORDS)?;
    guest.tell(RECORDS)?;
    let line = guest.line()?;
    let delivered = line.split_whitespace().find_map(|pair| pair.strip_prefix("records=")?.parse().ok());
    guest.end()?;
    let delivered: f64 = delivered.ok_or_else(|| Error::new(Kind::BadInput, format!("the guest said {line:?}")))?;
    Ok(vec![Row::plain("records of a burst of 100 delivered", "", delivered, Bar::AtLeast(RECORDS as f64))])
}

/// Ten thousand processes: every start and end is shown, or counted as dropped.
fn storm(programs: &Programs) -> Result<Vec<Row>> {
    const PROCESSES: usize = 10_000;
    let dir = output(Command::new("mktemp").arg("-d"))?;
    let dir = std::path::Path::new(dir.trim());
    // A name of its own, to tell its processes from the machine's other ones.
    let program = dir.join("skep-storm");
    fs::copy("/bin/true", &program).context(|| "copying /bin/true")?;
    let (shown, said) = (dir.join("out"), dir.join("err"));
    let create = |path| fs::File::create(path).context(|| format!("creating {}", dir.display()));
    let mut skep = programs
        .guest("examples/bootstrap/bootstrap.wasm")
        .stdin(Stdio::null())
        .stdout(create(&shown)?)
        .stderr(create(&said)?)
        .spawn()
        .context(|| "starting skep")?;
    let count = |what: &str| -> usize {
        let text = fs::read_to_string(&shown).unwrap_or_default();
        text.lines().filter(|line| line.contains(what) && line.contains("skep-storm")).count()
    };
    wait(Duration::from_secs(20), || fs::metadata(&shown).is_ok_and(|meta| meta.len() > 0))?;
    let start = Instant::now();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let program = program.clone();
            thread::spawn(move || -> Result<()> {
                for _ in 0..PROCESSES / 4 {
                    succeed(&mut Command::new(&program))?;
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| Error::new(Kind::Internal, "a thread of the storm panicked"))??;
    }
    let took = start.elapsed();
    // What is still on its way gets here within the poll's time-out; what was lost never does.
    _ = wait(Duration::from_secs(3), || count(" EXIT ") >= PROCESSES && count(" EXEC ") >= PROCESSES);
    succeed(Command::new("kill").args(["-INT", &skep.id().to_string()]))?;
    skep.wait().context(|| "waiting for skep")?;
    let said = fs::read_to_string(&said).unwrap_or_default();
    let lost = said.lines().find(|line| line.contains(" lost: "));
    let lost = lost.and_then(|line| line.split(" record").next()?.rsplit(' ').next()?.parse().ok());
    let (started, ended, lost) = (count(" EXEC "), count(" EXIT "), lost.unwrap_or(0usize));
    _ = fs::remove_dir_all(dir);
    let name = format!(
        "of {} events of 10,000 processes in {:.1} s, shown or counted as dropped",
        2 * PROCESSES,
        took.as_secs_f64()
    );
    let note = format!("{started} EXEC, {ended} EXIT, {lost} dropped");
    Ok(vec![Row::plain(&name, &note, (started + ended + lost) as f64, Bar::AtLeast(2.0 * PROCESSES as f64))])
}

/// Records that lie in the ring already: what the consumer costs alone.
fn drain(programs: &Programs) -> Result<Vec<Row>> {
    const CALLS: u64 = 2;
    const RECORDS: u64 = 50_000;
    let mut workers = [
        Worker::ready(&mut programs.native("ring"))?,
        Worker::ready(&mut programs.guest("benches/guests/ring.wasm"))?,
        Worker::ready(&mut programs.guest("benches/guests/ring-shared.wasm"))?,
    ];
    let times = in_turn(programs.rounds, workers.len(), |turn, first| {
        if first {
            // Each worker has a ring of its own, and one call fills them all.
            fire(programs, CALLS, RECORDS)?;
        }
        workers[turn].drain(CALLS * RECORDS)
    })?;
    for worker in workers {
        worker.end()?;
    }
    let rate = |ns: f64| 1e3 / ns;
    let row =
        |name, at: usize, bar| Row::against(name, "million/s", rate(median(&times[at])), rate(median(&times[0])), bar);
    Ok(vec![
        // benches/README.md says what this one is bounded by.
        row("records from a full ring to the callback", 1, Bar::RatioAtLeast(0.7)),
        row("records read where they lie, the ring in the guest's memory", 2, Bar::RatioAtLeast(0.7)),
    ])
}

/// A record a system call, producer and consumer side by side. Only one worker is attached at a time: a second one would
/// slow the producer down and so hide what the first one costs.
fn stream(programs: &Programs) -> Result<Vec<Row>> {
    const RECORDS: u64 = 100_000;
    let times = in_turn(programs.rounds.min(7), 2, |turn, _| {
        let mut worker = match turn {
            0 => Worker::ready(&mut programs.native("ring"))?,
            _ => Worker::ready(&mut programs.guest("benches/guests/ring.wasm"))?,
        };
        worker.tell(RECORDS)?;
        fire(programs, RECORDS, 1)?;
        let ns = worker.ns_each()?;
        worker.end()?;
        Ok(ns)
    })?;
    let rate = |at: usize| 1e3 / median(&times[at]);
    Ok(vec![Row::against(
        "records as they come, one a system call",
        "million/s",
        rate(1),
        rate(0),
        Bar::RatioAtLeast(0.7),
    )])
}

/// Lookups in a hash map, one call each.
fn lookup(programs: &Programs) -> Result<Vec<Row>> {
    const LOOKUPS: u64 = 200_000;
    let mut workers = [
        Worker::ready(&mut programs.native("lookup"))?,
        Worker::ready(&mut programs.guest("benches/guests/lookup.wasm"))?,
    ];
    let times = in_turn(programs.rounds, 2, |turn, _| workers[turn].ask(LOOKUPS))?;
    for worker in workers {
        worker.end()?;
    }
    let (native, guest) = (median(&times[0]), median(&times[1]));
    Ok(vec![Row::against("map lookup", "ns", guest, native, Bar::RatioAtMost(1.15))])
}

/// Values of an array in the guest's memory.
fn shared_value(programs: &Programs) -> Result<Vec<Row>> {
    let mut guest = Worker::ready(&mut programs.guest("benches/guests/shared-value.wasm"))?;
    let times = in_turn(programs.rounds, 1, |_, _| guest.ask(20_000_000))?;
    guest.end()?;
    Ok(vec![Row::plain("value of a shared map", "ns", median(&times[0]), Bar::AtMost(5.0))])
}

/// From the start of the process to its first line, with the module cached and without; and its memory at that point.
fn start(programs: &Programs) -> Result<Vec<Row>> {
    const SAMPLE: &str = "examples/bootstrap/bootstrap.wasm";
    let mut peaks = [Vec::new(), Vec::new(), Vec::new()];
    let times = in_turn(programs.rounds, 3, |turn, _| {
        let mut command = match turn {
            0 => programs.native("bootstrap"),
            1 => programs.guest(SAMPLE),
            _ => {
                let mut command = Command::new(&programs.skep);
                command.args(["run", "--no-cache"]).arg(crate::process::root().join(SAMPLE));
                command
            }
        };
        let start = Instant::now();
        let mut worker = Worker::start(&mut command)?;
        worker.line()?;
        let took = start.elapsed();
        peaks[turn].push(worker.peak_kib()?);
        worker.end()?;
        Ok(took.as_secs_f64() * 1e3)
    })?;
    let (native, warm, cold) = (median(&times[0]), median(&times[1]), median(&times[2]));
    let mib = |at: usize| median(&peaks[at]) / 1024.0;
    Ok(vec![
        Row::plain("start to first line, module cached", "ms", warm, Bar::AtMost(20.0)),
        Row::against("the same, beside native", "ms", warm, native, Bar::RatioAtMost(1.6)),
        Row::plain("start to first line, module compiled", "ms", cold, Bar::AtMost(150.0)),
        Row::against("peak resident memory, module cached", "MiB", mib(1), mib(0), Bar::AtMost(20.0)),
        Row::against("peak resident memory, module compiled", "MiB", mib(2), mib(0), Bar::None),
    ])
}

/// Takes `sides` measurements `rounds` times, in another order each time; the first round warms up and is not kept.
/// `measure` gets the side's number, and whether it is the first of its round.
fn in_turn(rounds: usize, sides: usize, mut measure: impl FnMut(usize, bool) -> Result<f64>) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::with_capacity(rounds); sides];
    for round in 0..=rounds {
        for turn in 0..sides {
            let side = (round + turn) % sides;
            let time = measure(side, turn == 0)?;
            if round > 0 {
                times[side].push(time);
            }
        }
    }
    Ok(times)
}

fn fire(programs: &Programs, calls: u64, records: u64) -> Result<()> {
    succeed(programs.native("fire").args([calls.to_string(), records.to_string()]).stdout(Stdio::null()))
}

/// Waits until `done`, looking every 20 ms.
fn wait(limit: Duration, done: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return Err(Error::new(Kind::TimedOut, format!("nothing within {} s", limit.as_secs())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_the_first_round_is_dropped() {
        let mut order = Vec::new();
        let times = in_turn(2, 2, |side, first| {
            order.push((side, first));
            Ok(order.len() as f64)
        })
        .unwrap();
        assert_eq!(order, [(0, true), (1, false), (1, true), (0, false), (0, true), (1, false)]);
        assert_eq!(times, [[4.0, 5.0], [3.0, 6.0]]);
    }
}
