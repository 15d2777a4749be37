// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows every change of state of a TCP socket on this machine.
#![forbid(unsafe_op_in_unsafe_fn)]

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
    time::Duration,
};

use skep_guest::program::{Errno, Object};

const USAGE: &str = "\
Usage: tcpstates [-w]

Shows every change of state of a TCP socket, until Ctrl-C: whose, between which addresses, from which state to which,
and for how many milliseconds it was in the one that it leaves.

  -w, --wide   room for IPv6 addresses
  -h, --help   this text
";

const AF_INET6: u16 = 10;

skep_guest::record! {
    /// What the program sends; `struct event` in tcpstates.bpf.c.
    struct Event {
        socket: u64,
        duration_ns: u64,
        pid: u32,
        old_state: u32,
        new_state: u32,
        family: u16,
        source_port: u16,
        destination_port: u16,
        padding: u16,
        source: [u8; 16],
        destination: [u8; 16],
        comm: [u8; 16],
        padding2: u32,
    }
}

/// `enum` of `<net/tcp_states.h>`, from 1.
const STATES: [&str; 12] = [
    "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "CLOSING", "NEW_SYN_RECV",
];

fn state(number: u32) -> &'static str {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| STATES.get(index)).copied().unwrap_or("?")
}

fn address(bytes: [u8; 16], family: u16) -> IpAddr {
    if family == AF_INET6 {
        Ipv6Addr::from(bytes).into()
    } else {
        let [a, b, c, d, ..] = bytes;
        Ipv4Addr::new(a, b, c, d).into()
    }
}

fn print(event: &Event, width: usize, out: &mut impl io::Write) -> io::Result<()> {
    let comm = event.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    writeln!(
        out,
        "{:<16x} {:<7} {:<16} {:<width$} {:<5} {:<width$} {:<5} {:<11} -> {:<11} {:>10.3}",
        event.socket,
        event.pid,
        String::from_utf8_lossy(comm),
        // As text first: an address ignores the width.
        address(event.source, event.family).to_string(),
        event.source_port,
        address(event.destination, event.family).to_string(),
        event.destination_port,
        state(event.old_state),
        state(event.new_state),
        event.duration_ns as f64 / 1e6,
    )
}

fn run(width: usize) -> Result<(), Errno> {
    let object = Object::load(include_bytes!(env!("SKEP_BPF_OBJECT")))?;
    object.attach(c"set_state")?;
    let events = object.map(c"events")?;
    let mut out = io::LineWriter::new(io::stdout());
    let mut failed = writeln!(
        out,
        "{:<16} {:<7} {:<16} {:<width$} {:<5} {:<width$} {:<5} {:<11} -> {:<11} {:>10}",
        "SOCKET", "PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "OLDSTATE", "NEWSTATE", "MS",
    );
    let mut record = [0; size_of::<Event>()];
    while failed.is_ok() {
        let polled = events.poll(&mut record, Duration::from_millis(100), |record| {
            if let Some(event) = Event::read(record).filter(|_| failed.is_ok()) {
                failed = print(&event, width, &mut out);
            }
        });
        match polled {
            Err(Errno::INTR) => break, // Ctrl-C
            polled => polled?,
        }
    }
    // Whoever read our output has gone: there is nobody to tell.
    let _ = out.flush();
    Ok(())
}

fn main() -> ExitCode {
    let mut width = 15;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-w" | "--wide" => width = 39,
            "-h" | "--help" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprint!("tcpstates: unknown argument {argument:?}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(width) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpstates: {error}");
            ExitCode::FAILURE
        }
    }
}
