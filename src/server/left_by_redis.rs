//! A data directory that redis-server has used. Its files are not read here, so a first start beside them is an empty one: that must not
//! happen without a word, or it is taken for a loss.

use crate::command::server::Store;
use crate::config::Config;
use crate::disk::plain;

/// Names the data of redis-server that stands beside a store made just now.
pub fn warn(config: &Config, store: &Store) {
    if !store.recovery.created {
        return;
    }
    for path in found(config, plain::exists) {
        tracing::warn!(
            "{path} was written by redis-server and is not read: this server starts empty, in files of its own. To bring the data in, \
             start redis-server on it and copy its keys with MIGRATE, or its appendonly file with redis-cli --pipe: see \"Coming from \
             Redis\" in docs/compatibility.md"
        );
    }
}

/// What redis-server would have loaded under this configuration.
fn found(config: &Config, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let dir = config.dir();
    let names = [config.dbfilename(), config.appenddirname(), config.appendfilename()];
    names.into_iter().map(|name| format!("{dir}/{name}")).filter(|path| exists(path)).collect()
}

#[test]
fn files_of_redis_are_found_under_the_names_of_the_configuration() {
    let config = Config::new();
    config.set_at_start(crate::config::Name::dir, "/data").unwrap();
    assert_eq!(found(&config, |_| true), ["/data/dump.rdb", "/data/appendonlydir", "/data/appendonly.aof"]);
    config.set_at_start(crate::config::Name::dbfilename, "mine.rdb").unwrap();
    assert_eq!(found(&config, |path| path.ends_with("rdb")), ["/data/mine.rdb"]);
    assert!(found(&config, |_| false).is_empty());
}
