//! `skep doctor`: what this kernel and this user can do, and what to do about the rest.

use std::io::{self, Write};

use serde_json::{Value, json};
use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};
use skep_runtime::doctor::{Area, Finding, Verdict, findings};

/// What `skep doctor` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo skep doctor                     everything, one line each
  sudo skep doctor fentry lsm ringbuf  only these; exit code 69 if one of them does not work
  sudo skep doctor --json              the same for a program")]
pub(crate) struct Args {
    /// Only these, by name; exit code 69 if one of them does not work
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print an array of objects: area, name, verdict, note, and for what fails reason, why and fix
    #[arg(long)]
    json: bool,
}

/// Prints the findings; 69 if one that was asked for by name does not work.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let all = findings();
    let chosen = choose(&all, &args.names)?;
    let mut out = io::stdout().lock();
    let written = if args.json { write_json(&mut out, &chosen) } else { write_text(&mut out, &chosen) };
    match written {
        // Whoever reads has had enough, as in `skep doctor | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context(|| "writing the report")?,
    }
    let broken = chosen.iter().any(|finding| finding.verdict != Verdict::Works);
    Ok(if broken && !args.names.is_empty() { Kind::Unsupported.exit_code() } else { 0 })
}

fn choose<'a>(all: &'a [Finding], names: &[String]) -> Result<Vec<&'a Finding>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    for name in names {
        if !all.iter().any(|finding| finding.name.eq_ignore_ascii_case(name)) {
            return Err(Error::new(Kind::Usage, format!("nothing is called {name}"))
                .help(did_you_mean(name, all.iter().map(|finding| finding.name))));
        }
    }
    Ok(all.iter().filter(|finding| names.iter().any(|name| finding.name.eq_ignore_ascii_case(name))).collect())
}

fn write_text(out: &mut impl Write, findings: &[&Finding]) -> io::Result<()> {
    let mut first = true;
    for area in Area::ALL {
        let here: Vec<&&Finding> = findings.iter().filter(|finding| finding.area == area).collect();
        if here.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            writeln!(out)?;
        }
        writeln!(out, "{}", area.name())?;
        for finding in here {
            let line = format!("  {:<6}  {:<21}  {}", finding.verdict.name(), finding.name, remark(finding));
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

/// Why, and what to do; or more about what works.
fn remark(finding: &Finding) -> String {
    let Some(reason) = finding.verdict.reason() else { return finding.note.clone() };
    let mut text = reason.to_string();
    if let Some(fix) = reason.fix() {
        text.push_str(" → ");
        text.push_str(&fix);
    }
    text
}

fn write_json(out: &mut impl Write, findings: &[&Finding]) -> io::Result<()> {
    let list: Vec<Value> = findings.iter().map(|finding| object(finding)).collect();
    serde_json::to_writer_pretty(&mut *out, &list)?;
    writeln!(out)
}

fn object(finding: &Finding) -> Value {
    let mut object = json!({
        "area": finding.area.name(),
        "name": finding.name,
        "verdict": finding.verdict.name(),
        "note": finding.note,
    });
    if let Some(reason) = finding.verdict.reason() {
        object["reason"] = reason.code().into();
        object["why"] = reason.to_string().into();
        object["fix"] = reason.fix().into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_runtime::doctor::Reason;

    fn sample() -> Vec<Finding> {
        vec![
            Finding { area: Area::Mounts, name: "cgroup2", verdict: Verdict::Works, note: "/sys/fs/cgroup".to_owned() },
            Finding {
                area: Area::Programs,
                name: "netfilter",
                verdict: Verdict::Fails(Reason::TooOld { since: (6, 4) }),
                note: String::new(),
            },
        ]
    }

    #[test]
    fn a_line_says_what_fails_why_and_what_to_do() {
        let findings = sample();
        let mut text = Vec::new();
        write_text(&mut text, &findings.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "mounts\n  yes     cgroup2                /sys/fs/cgroup\n\n\
             programs\n  no      netfilter              since Linux 6.4 → use Linux 6.4 or newer\n"
        );
    }

    #[test]
    fn json_has_the_reason_as_a_code() {
        let findings = sample();
        assert_eq!(object(&findings[1])["reason"], "kernel-too-old");
        assert_eq!(object(&findings[0]).get("reason"), None);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let findings = sample();
        let error = choose(&findings, &["netfiltre".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.help_text(), Some("did you mean \"netfilter\"?"));
        assert_eq!(choose(&findings, &["NETFILTER".to_owned()]).unwrap().len(), 1);
    }
}
