//! A client as a line of CLIENT LIST.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::clients::Client;
use crate::command::registry::Registry;
use crate::command::tracking;

/// Redis' fields in Redis' order; the line ends in a line feed.
pub fn describe(client: &Client, registry: &Registry, now_ms: u64) -> String {
    let age_s = now_ms.saturating_sub(client.created_ms) / 1000;
    let idle_s = now_ms.saturating_sub(client.last_active_ms.load(Relaxed)) / 1000;
    let command = registry.all().get(client.last_command.load(Relaxed));
    let command = command.map_or_else(|| "NULL".to_owned(), |command| command.full_name());
    let (query, free) = (client.query_bytes.load(Relaxed), client.query_free.load(Relaxed));
    let (multi_bytes, output) = (client.multi_bytes.load(Relaxed), client.output_bytes.load(Relaxed));
    let total = size_of::<Client>() + query + free + multi_bytes + output;
    let [sub, psub, ssub] = [0, 1, 2].map(|topic: usize| client.subscriptions[topic].load(Relaxed));
    format!(
        "id={id} addr={addr} laddr={laddr} fd={fd} name={name} age={age_s} idle={idle_s} flags={flags} db={db} \
         sub={sub} psub={psub} ssub={ssub} multi={multi} watch={watch} qbuf={query} qbuf-free={free} argv-mem=0 \
         multi-mem={multi_bytes} rbs=0 rbp=0 obl={output} oll=0 omem={output} tot-mem={total} events=r \
         cmd={command} user=default redir={redirect} resp={resp} lib-name={lib_name} lib-ver={lib_ver} \
         tot-net-in={net_in} tot-net-out={net_out} tot-cmds={commands}\n",
        id = client.id,
        addr = client.addr,
        laddr = client.laddr,
        fd = client.fd,
        name = client.name.lock(),
        flags = flags(client),
        db = client.db.load(Relaxed),
        multi = client.multi.load(Relaxed),
        watch = client.watched.load(Relaxed),
        redirect = client.redirect.load(Relaxed),
        resp = client.resp.load(Relaxed),
        lib_name = client.lib_name.lock(),
        lib_ver = client.lib_ver.lock(),
        net_in = client.input_total.load(Relaxed),
        net_out = client.output_total.load(Relaxed),
        commands = client.commands.load(Relaxed),
    )
}

/// Redis' letters; `N` if there is nothing to say.
fn flags(client: &Client) -> String {
    let tracking = client.tracking.load(Relaxed);
    let letters = [
        ('P', client.is_subscribed()),
        ('x', client.multi.load(Relaxed) >= 0),
        ('b', client.is_blocked()),
        ('t', tracking & tracking::ON != 0),
        ('R', tracking & tracking::BROKEN != 0),
        ('B', tracking & tracking::BROADCAST != 0),
        ('A', client.killed.load(Relaxed)),
        ('U', client.unix_socket),
        ('e', client.no_evict.load(Relaxed)),
        ('T', client.no_touch.load(Relaxed)),
    ];
    let set: String = letters.into_iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}
