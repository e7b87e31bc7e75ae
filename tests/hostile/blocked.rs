//! Waiting for a great many keys.

use crate::target::Target;

#[test]
fn what_blocked_clients_wait_for_is_counted_and_given_back() {
    let target = Target::start(&[]);
    let before = target.number("used_memory");
    let keys: Vec<String> = (0..2000).map(|key| format!("key:{key}")).collect();
    let mut clients: Vec<_> = (0..100).map(|_| target.server.client()).collect();
    target.beside_an_honest_client(|| {
        for client in &mut clients {
            let words = std::iter::once("BLPOP").chain(keys.iter().map(String::as_str)).chain(["0"]);
            client.queue(words);
            client.flush().unwrap();
        }
        target.wait_for("them to be blocked", || target.number("blocked_clients") == 100);
    });
    let taken = target.number("used_memory") - before;
    let told = target.number("client_memory_bytes");
    eprintln!("they take {taken} bytes; counted are {told}");
    assert!(told > taken / 2 && told < 4 * taken, "{taken} bytes, counted as {told}");
    drop(clients);
    target.wait_for("them to be gone", || target.number("blocked_clients") == 0);
    target.wait_for("their memory", || target.number("used_memory") < before + taken / 4);
}
