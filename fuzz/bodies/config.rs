//! Any text as a redis.conf: an error that names a line, or a configuration. What CONFIG REWRITE makes of that, out of the same
//! file and out of an empty one, loads to the same values; a second rewrite changes nothing.

use duramen::config::{Config, DIRECTIVES, LoadError, Loader, Name, rewrite};

pub fn check(data: &[u8]) {
    let config = match load(data) {
        Ok(config) => config,
        Err(error) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&error.line) && !error.reason.is_empty(), "{error}");
            return;
        }
    };
    for existing in [data, b""] {
        let rewritten =
            rewrite(existing, &config, &mut |_: &str| Err("no files".to_owned())).expect("it loaded");
        let again = load(&rewritten)
            .unwrap_or_else(|error| panic!("{error}\nrewritten:\n{}", rewritten.escape_ascii()));
        for &name in Name::ALL {
            let called = name.directive().name;
            assert_eq!(again.value(name), config.value(name), "{called} in\n{}", rewritten.escape_ascii());
        }
        if !existing.is_empty() {
            assert_eq!(again.renamed_commands(), config.renamed_commands());
        }
        let twice =
            rewrite(&rewritten, &again, &mut |_: &str| Err("no files".to_owned())).expect("it loaded");
        assert_eq!(twice, rewritten, "a second rewrite has nothing to do");
    }
}

fn load(text: &[u8]) -> Result<Config, LoadError> {
    let config = Config::new();
    let mut include = |_: &str| Err("no files".to_owned());
    let mut loader = Loader::new(&config, &mut include);
    loader.file(text)?;
    loader.finish();
    Ok(config)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: &[&str] = &[
        "",
        "# only a comment\n\n   \t\r\n",
        "save 900 1 300 10\nsave 60 10000\n",
        "save \"\"\n",
        "port 7000\nbind 127.0.0.1 -::1\nmaxmemory 1gb\nmaxmemory-policy allkeys-lru\n",
        "client-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit pubsub 32mb 8mb 60\n",
        "requirepass \"a\\x20\\\"b\\n\"\nunixsocket '/tmp/it''s'\n",
        "rename-command FLUSHALL \"\"\nrename-command CONFIG abc\nuser default on nopass ~* &* +@all\n",
        "user default on >secret ~* &* +@all\nrequirepass secret\n",
        "notify-keyspace-events KEA\nmaxmemory-clients 10%\nappendfsync always\nhz 999\nhz 10\n",
        "include /etc/x.conf\n",
        "port 7000\nport 7001\r\nlogfile \"a'b\"\nlogfile \"\\xc3\\xa9\\t\"\n",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    // Every directive with its default, in a few files.
    for directives in DIRECTIVES.chunks(20) {
        let lines = directives.iter().map(|d| format!("{} \"{}\"\n", d.name, d.default));
        seeds.push(lines.collect::<String>().into_bytes());
    }
    seeds.extend(DIRECTIVES.iter().map(|d| format!("{} 12 34\n{} yes\n", d.name, d.name).into_bytes()));
    seeds
}
