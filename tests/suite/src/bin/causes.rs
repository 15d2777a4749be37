//! Makes the system calls and packets that the tests of attaching look for. It is run in a cgroup and a network
//! namespace of its own; an argument names a TCP congestion control to use.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{Read as _, Result, Write as _},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

/// As in `guests/places/places.h`.
const TCP_PORT: u16 = 4242;
const UDP_PORT: u16 = 4343;
const DATAGRAM: &[u8] = b"hello!";

fn main() -> Result<()> {
    datagram()?;
    // Over IPv6 no packet is sent: connecting a datagram socket only notes the address.
    UdpSocket::bind("[::1]:0")?.connect(("::1", UDP_PORT))?;
    connection(std::env::args().nth(1).as_deref())?;
    let mut kernel = String::new();
    File::open("/proc/sys/kernel/ostype")?.read_to_string(&mut kernel)?;
    File::open("/dev/zero")?.read_exact(&mut [0; 1])?;
    Ok(())
}

/// A datagram to a bound socket, received.
fn datagram() -> Result<()> {
    let receiver = UdpSocket::bind(("127.0.0.1", UDP_PORT))?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.send_to(DATAGRAM, receiver.local_addr()?)?;
    let mut buffer = [0; 64];
    let (len, _) = receiver.recv_from(&mut buffer)?;
    assert_eq!(&buffer[..len], DATAGRAM);
    Ok(())
}

/// A connection with one message in it.
fn connection(congestion: Option<&str>) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", TCP_PORT))?;
    let client = socket(AddressFamily::INET, SocketType::STREAM, None)?;
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
