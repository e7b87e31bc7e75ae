//! Connections opened and closed as fast as it goes.

use std::net::TcpStream;

use crate::target::{MIB, Target, send};

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let target = Target::start(&[]);
    let address = ("127.0.0.1", target.server.port());
    let before = target.number("used_memory");
    target.beside_an_honest_client(|| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..1000 {
                        // Refused ones are part of it.
                        let Ok(mut socket) = TcpStream::connect(address) else { continue };
                        if round % 2 == 0 {
                            send(&mut socket, b"*2\r\n$3\r\nGET\r\n$9");
                        }
                    }
                });
            }
        });
    });
    target.wait_for("them to be gone", || target.number("connected_clients") <= 2);
    assert!(target.number("total_connections_received") >= 3900);
    target.wait_for("their memory", || target.number("used_memory") < before + 4 * MIB);
}

#[test]
fn a_rush_of_connections_never_gets_more_than_maxclients() {
    let target = Target::start(&[("maxclients", "50")]);
    let mut watcher = target.server.client();
    let sockets: Vec<_> = (0..400).map(|_| target.raw()).collect();
    let mut ask = |field: &str| crate::target::number(&mut watcher, field);
    target.wait_for("all to be looked at", || ask("total_connections_received") > 400);
    assert!(ask("rejected_connections") >= 350);
    assert!(ask("connected_clients") <= 50);
    drop(sockets);
}
