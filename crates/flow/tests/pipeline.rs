//! Whole runs over a source that needs no kernel.

use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Field, FieldKind, Place, Schema, StackTable, Value};
use skep_flow::{
    Added, Control, Fill, Head, Operator, Pipeline, Progress, Sink, Source, Step, Summary,
    operators::{Filter, Format, Limit, Sort},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

struct Numbers {
    schema: Schema,
    next: u32,
    end: u32,
}

fn numbers(end: u32) -> Box<dyn Source> {
    let number = |name, offset| Field::new(name, FieldKind::Uint32, Place::Record { offset, size: 4 });
    let schema = Schema::new("numbers", 8, vec![number("n", 0), number("mod7", 4)]).unwrap();
    Box::new(Numbers { schema, next: 0, end })
}

impl Source for Numbers {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], _: Duration) -> Result<Fill> {
        let mut records = 0;
        for slot in buffer.chunks_exact_mut(8) {
            if self.next == self.end {
                break;
            }
            slot[..4].copy_from_slice(&self.next.to_le_bytes());
            slot[4..].copy_from_slice(&(self.next % 7).to_le_bytes());
            self.next += 1;
            records += 1;
        }
        Ok(Fill { records, end: self.next == self.end })
    }

    fn lost(&self) -> u64 {
        3
    }

    fn live(&self) -> bool {
        false
    }
}

#[derive(Clone, Default)]
struct Collect(Arc<Mutex<Vec<String>>>, Option<Kind>);

impl Sink for Collect {
    fn name(&self) -> &str {
        "collect"
    }

    fn bind(&mut self, _: &Schema, _: &StackTable) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, schema: &Schema, batch: &Batch<'_>) -> Result<()> {
        if let Some(kind) = self.1 {
            return Err(Error::new(kind, "disk full"));
        }
        let shown: Vec<_> = schema.fields().iter().filter(|field| !field.hidden).collect();
        for index in 0..batch.len() {
            let row: Vec<String> = shown.iter().map(|field| batch.value(index, field).to_string()).collect();
            self.0.lock().unwrap().push(row.join(" "));
        }
        Ok(())
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        self.0.lock().unwrap().push(format!("end {}", summary.kept));
        Ok(())
    }
}

/// A first stage with memory of its own that keeps even numbers.
struct Even(Vec<u8>);

impl Operator for Even {
    fn name(&self) -> &str {
        "even"
    }

    fn process(&mut self, _: &Schema, _: &mut Batch<'_>) -> Result<Step> {
        panic!("the first stage works in place");
    }

    fn head(&mut self) -> Option<&mut dyn Head> {
        Some(self)
    }
}

impl Head for Even {
    fn buffer(&mut self, stride: usize, _: usize) -> Result<&mut [u8]> {
        self.0.resize(stride * 100, 0);
        Ok(&mut self.0)
    }

    fn process_in_place(&mut self, _: &Schema, _: usize, added: &mut Added) -> Result<Step> {
        let records = &self.0;
        added.selection.retain(|index| records[index * 8].is_multiple_of(2));
        Ok(Step::Next)
    }

    fn records(&self, stride: usize, records: usize) -> &[u8] {
        &self.0[..stride * records]
    }
}

#[test]
fn records_pass_filters_a_sort_and_a_limit_and_are_counted() {
    let rows = Collect::default();
    let rule = Box::new(|value: &Value<'_>| value.as_u64().map(|n| format!("#{n}")));
    let summary = Pipeline::new(numbers(100_000))
        .operator(Box::new(Filter::new("mod7==3,n>=10").unwrap()))
        .operator(Box::new(Sort::new("-n").unwrap()))
        .operator(Box::new(Format::new("n", "text", true, rule)))
        .operator(Box::new(Limit::new(3)))
        .sink(Box::new(rows.clone()))
        .run(&Control::default(), |_| {})
        .unwrap();
    assert_eq!(*rows.0.lock().unwrap(), ["3 #99998", "3 #99991", "3 #99984", "end 3"]);
    let seen: Vec<_> = summary.operators.iter().map(|o| (o.name.as_str(), o.seen, o.kept)).collect();
    assert_eq!(seen[0], ("where", 100_000, 14_285));
    assert_eq!(seen[1], ("sort", 14_285, 14_285));
    assert_eq!(summary.events, 100_000);
    assert_eq!(summary.kept, 3);
    assert_eq!(summary.lost.kernel, 3);
    assert_eq!(summary.lost.filter, 100_000 - 3);
}

#[test]
fn a_first_stage_is_filled_in_place() {
    let rows = Collect::default();
    let summary = Pipeline::new(numbers(1000))
        .operator(Box::new(Even(Vec::new())))
        .operator(Box::new(Filter::new("mod7!=0").unwrap()))
        .sink(Box::new(rows.clone()))
        .run(&Control::default(), |_| {})
        .unwrap();
    assert_eq!(summary.operators[0].seen, 1000);
    assert_eq!(summary.operators[0].kept, 500);
    assert_eq!(rows.0.lock().unwrap().len(), 1 + (0..1000).filter(|n| n % 2 == 0 && n % 7 != 0).count());
}

#[test]
fn a_sink_that_fails_ends_the_run_with_its_error() {
    let sink = Collect(Arc::default(), Some(Kind::Io));
    let error = Pipeline::new(numbers(u32::MAX)).sink(Box::new(sink)).run(&Control::default(), |_| {}).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("collect"));
}

#[test]
fn a_sink_that_fails_takes_no_other_with_it() {
    let (broken, good) = (Collect(Arc::default(), Some(Kind::Io)), Collect::default());
    let run = Pipeline::new(numbers(100_000)).sink(Box::new(broken)).sink(Box::new(good.clone()));
    let error = run.run(&Control::default(), |_| {}).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    let rows = good.0.lock().unwrap();
    assert_eq!((rows.len(), rows.last().map(String::as_str)), (100_001, Some("end 100000")));
}

#[test]
fn a_run_can_be_stopped() {
    let control = Control::default();
    let stop = control.clone();
    let summary = Pipeline::new(numbers(u32::MAX))
        .run(&control, |progress| {
            if progress.events > 100_000 {
                stop.stop();
            }
        })
        .unwrap();
    assert!(summary.events < u64::from(u32::MAX));
}

/// Takes its time over each record.
struct Slow;

impl Operator for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        std::thread::sleep(Duration::from_millis(batch.len() as u64));
        Ok(Step::Next)
    }
}

/// Numbers that the kernel keeps making, and what it still holds when it is told to stop.
struct Live(Box<dyn Source>);

impl Source for Live {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn fill(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Fill> {
        self.0.fill(buffer, wait)
    }

    fn stop(&mut self) -> Result<bool> {
        Ok(true)
    }
}

/// Takes nothing before it is let, and then counts.
struct Gated {
    open: mpsc::Receiver<()>,
    taken: Arc<AtomicU64>,
}

impl Sink for Gated {
    fn name(&self) -> &str {
        "gated"
    }

    fn bind(&mut self, _: &Schema, _: &StackTable) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        // Closed: open for good.
        _ = self.open.recv();
        self.taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        Ok(())
    }
}

/// More than the queue before a sink holds, whose sink takes nothing until so many events were made; what was kept.
fn through_a_full_queue(source: Box<dyn Source>, records: u64, opens_at: u64) -> u64 {
    let (gate, open) = mpsc::channel();
    let (mut gate, taken) = (Some(gate), Arc::<AtomicU64>::default());
    let pipeline = Pipeline::new(source).sink(Box::new(Gated { open, taken: taken.clone() }));
    let report = |progress: &Progress| {
        if progress.events >= opens_at {
            gate = None;
        }
    };
    let summary = pipeline.run(&Control::default(), report).unwrap();
    assert_eq!(summary.kept, taken.load(Ordering::Relaxed));
    assert_eq!((summary.events, summary.kept + summary.lost.queue), (records, records), "{summary:?}");
    summary.kept
}

#[test]
fn a_file_waits_for_a_sink_and_what_is_live_is_counted_as_lost() {
    const RECORDS: u64 = 5_000_000;
    assert_eq!(through_a_full_queue(numbers(RECORDS as u32), RECORDS, 1_000_000), RECORDS);
    let live = Box::new(Live(numbers(RECORDS as u32)));
    assert!((1_000_000..RECORDS).contains(&through_a_full_queue(live, RECORDS, RECORDS)));
}

#[test]
fn a_slow_operator_does_not_hold_the_end_up_and_what_it_did_not_see_is_counted() {
    const RECORDS: u64 = 50_000;
    let pipeline = Pipeline::new(Box::new(Live(numbers(RECORDS as u32)))).operator(Box::new(Slow));
    let rows = Collect::default();
    let summary =
        pipeline.sink(Box::new(rows.clone())).run(&Control::new(Some(Duration::from_millis(100))), |_| {}).unwrap();
    // All of them would take 50 seconds.
    assert!(summary.elapsed < Duration::from_secs(20), "{summary:?}");
    assert_eq!((summary.events, summary.kept + summary.lost.queue), (RECORDS, RECORDS), "{summary:?}");
    assert!(summary.lost.queue > 10_000, "{summary:?}");
}

#[test]
fn expressions_that_cannot_be_meant_are_refused() {
    for bad in ["", "n", "==3", "n==1,,"] {
        assert_eq!(Filter::new(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
    }
    for bad in ["n==x", "n==-1", "m==1", "n~("] {
        let run = Pipeline::new(numbers(1)).operator(Box::new(Filter::new(bad).unwrap()));
        assert!(run.run(&Control::default(), |_| {}).is_err(), "{bad}");
    }
    assert!(Sort::new("a,,b").is_err());
}
