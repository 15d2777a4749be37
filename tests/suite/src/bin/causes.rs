//! Makes the system calls and packets that the tests of attaching look for. It is run in a cgroup and a network
//! namespace of its own: `causes [inet|inet6|unix [CONGESTION]]`, with the name of a TCP congestion control to use.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{Error, Read as _, Result, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
    },
};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

/// As in `guests/places/places.h`.
const TCP_PORT: u16 = 4242;
const UDP_PORT: u16 = 4343;
const DATAGRAM: &[u8] = b"hello!";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (family, congestion) = (args.next().unwrap_or_default(), args.next());
    match family.as_str() {
        "" | "inet" => internet(Ipv4Addr::LOCALHOST.into(), congestion.as_deref())?,
        "inet6" => internet(Ipv6Addr::LOCALHOST.into(), congestion.as_deref())?,
        "unix" => unix()?,
        other => return Err(Error::other(format!("no family {other:?}: inet, inet6, unix"))),
    }
    let mut kernel = String::new();
    File::open("/proc/sys/kernel/ostype")?.read_to_string(&mut kernel)?;
    File::open("/dev/zero")?.read_exact(&mut [0; 1])?;
    Ok(())
}

fn internet(host: IpAddr, congestion: Option<&str>) -> Result<()> {
    datagram(host)?;
    connection(host, congestion)
}

/// A datagram to a bound socket, received.
fn datagram(host: IpAddr) -> Result<()> {
    let receiver = UdpSocket::bind((host, UDP_PORT))?;
    let sender = UdpSocket::bind((host, 0))?;
    sender.send_to(DATAGRAM, receiver.local_addr()?)?;
    received(|buffer| Ok(receiver.recv_from(buffer)?.0))
}

fn received(receive: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
    let mut buffer = [0; 64];
    let len = receive(&mut buffer)?;
    assert_eq!(&buffer[..len], DATAGRAM);
    Ok(())
}

/// A connection with one message in it.
fn connection(host: IpAddr, congestion: Option<&str>) -> Result<()> {
    let listener = TcpListener::bind((host, TCP_PORT))?;
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let client = socket(family, SocketType::STREAM, None)?;
    if let Some(name) = congestion {
        sockopt::set_tcp_congestion(&client, name)?;
    }
    connect(&client, &listener.local_addr()?)?;
    let mut client = TcpStream::from(client);
    client.set_nodelay(true)?;
    assert_eq!(client.peer_addr()?.port(), TCP_PORT);
    assert!(client.take_error()?.is_none());
    let (mut server, _) = listener.accept()?;
    client.write_all(b"message")?;
    client.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    server.read_to_string(&mut text)?;
    assert_eq!(text, "message");
    Ok(())
}

/// A connection and a datagram between sockets of the local machine, under names that belong to the network namespace.
fn unix() -> Result<()> {
    let name = |text: &str| SocketAddr::from_abstract_name(text);
    let listener = UnixListener::bind_addr(&name("listener")?)?;
    let client = UnixStream::connect_addr(&name("listener")?)?;
    assert_eq!(client.peer_addr()?.as_abstract_name(), Some(&b"listener"[..]));
    assert_eq!(listener.local_addr()?.as_abstract_name(), Some(&b"listener"[..]));
    let receiver = UnixDatagram::bind_addr(&name("receiver")?)?;
    UnixDatagram::bind_addr(&name("sender")?)?.send_to_addr(DATAGRAM, &name("receiver")?)?;
    received(|buffer| Ok(receiver.recv_from(buffer)?.0))
}
