//! The one `user` line that this server can follow: the default user with all rights, which is what `requirepass` makes of it. Every
//! other line asks for less than all rights, or for another user, and a server that passed over it would be open where it should not be.

/// Why a line is refused, and what to do instead.
const OTHER: &str = "this server has no ACL users: only 'user default on >password ~* &* +@all' is taken, as requirepass (or \
    nopass in place of the password). Remove the line, and set requirepass if clients should need a password";
const HASHED: &str = "this server can't take a password as a hash: write requirepass with the password itself, and remove the line";
const SEVERAL: &str = "this server has one password: keep one of them as requirepass, and remove the line";
const EMPTY: &str = "an empty password can't be told from none: set requirepass to another, or write nopass";
/// Of a `user` line and a `requirepass` that don't say the same, in either order.
pub const CONFLICT: &str = "requirepass and the line 'user default' give the default user different passwords: keep one of the two lines";

/// The password that a `user` line gives the default user, empty for none; `words` are what stands behind `user`. As in Redis the line
/// says all of it: what it does not name is not allowed.
pub fn password<'a>(words: &[&'a str]) -> Result<&'a str, &'static str> {
    let Some((&"default", rules)) = words.split_first() else { return Err(OTHER) };
    let (mut is_on, mut keys, mut channels, mut commands) = (false, false, false, false);
    let mut password = None;
    for &rule in rules {
        if let Some(given) = rule.strip_prefix('>') {
            match password {
                _ if given.is_empty() => return Err(EMPTY),
                Some(earlier) if earlier != given => return Err(SEVERAL),
                _ => password = Some(given),
            }
            continue;
        }
        match rule.to_ascii_lowercase().as_str() {
            "on" => is_on = true,
            "~*" | "allkeys" => keys = true,
            "&*" | "allchannels" => channels = true,
            "+@all" | "allcommands" => commands = true,
            "nopass" if password.is_none() => password = Some(""),
            // RESTORE looks at all it is given, whoever gives it.
            "sanitize-payload" | "skip-sanitize-payload" => {}
            hashed if hashed.starts_with('#') => return Err(HASHED),
            _ => return Err(OTHER),
        }
    }
    match password {
        Some(password) if is_on && keys && channels && commands => Ok(password),
        _ => Err(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<&str, &'static str> {
        password(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn all_rights_with_one_password_or_none_are_taken() {
        for (line, expected) in [
            ("default on >secret ~* &* +@all", "secret"),
            ("default +@all &* ~* >secret on", "secret"),
            ("default ON >secret >secret ALLKEYS allchannels allcommands", "secret"),
            ("default on nopass sanitize-payload ~* &* +@all", ""),
        ] {
            assert_eq!(of(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn whatever_asks_for_less_or_for_more_users_is_refused() {
        for line in [
            "default",
            "default on",
            "default on ~* &* +@all",
            "default off >secret ~* &* +@all",
            "default >secret ~* &* +@all",
            "default on >secret &* +@all",
            "default on >secret ~app:* &* +@all",
            "default on >secret ~* +@all",
            "default on >secret ~* &*",
            "default on >secret ~* &* +@all -flushall",
            "default on >secret ~* &* +@read",
            "default on >secret nopass ~* &* +@all",
            "Default on >secret ~* &* +@all",
            "bob on >secret ~* &* +@all",
        ] {
            assert_eq!(of(line), Err(OTHER), "{line}");
        }
        assert_eq!(of("default on #0123 ~* &* +@all"), Err(HASHED));
        assert_eq!(of("default on >a >b ~* &* +@all"), Err(SEVERAL));
        assert_eq!(of("default on nopass >b ~* &* +@all"), Err(SEVERAL));
        assert_eq!(of("default on > ~* &* +@all"), Err(EMPTY));
    }
}
