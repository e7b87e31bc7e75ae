//! JSON's text: numbers as `%.14g` writes them, and the decoder.

use mlua::{Lua, Value};

use super::cjson::Settings;

/// Appends what C's `%.<precision>g` prints.
pub fn put_number(out: &mut Vec<u8>, number: f64, precision: usize) {
    if number.is_nan() {
        return out.extend_from_slice(if number.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
    }
    let scientific = format!("{number:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        let text = format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
        return out.extend_from_slice(text.as_bytes());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    out.extend_from_slice(trim(&format!("{number:.decimals$}")).as_bytes());
}

/// Nesting that is read whatever a script has set: each level holds one of the 8000 handles that an interpreter has.
const DEPTH_FITS: usize = 7000;

/// What is wrong with a text.
type Fault = String;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    const fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Error(what) => what,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    /// Where the last token began.
    token_at: usize,
    settings: &'a Settings,
    depth: usize,
}

/// The outer result is the interpreter's (out of memory), the inner one the text's.
pub fn decode(lua: &Lua, text: &[u8], settings: &Settings) -> mlua::Result<Result<Value, Fault>> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Ok(Err("JSON parser does not support UTF-16 or UTF-32".into()));
    }
    let mut decoder = Decoder { lua, text, at: 0, token_at: 0, settings, depth: 0 };
    let token = decoder.next();
    let value = match decoder.value(token)? {
        Ok(value) => value,
        Err(fault) => return Ok(Err(fault)),
    };
    let token = decoder.next();
    if token != Token::End {
        return Ok(Err(decoder.unexpected("the end", &token)));
    }
    Ok(Ok(value))
}

impl Decoder<'_> {
    fn unexpected(&self, expected: &str, found: &Token) -> Fault {
        format!("Expected {expected} but found {} at character {}", found.name(), self.token_at + 1)
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Token {
        while self.rest().first().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.token_at = self.at;
        let Some(&byte) = self.rest().first() else { return Token::End };
        let single = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => return self.number(),
            b'+' if self.settings.takes_invalid_numbers() => return self.number(),
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        let is_invalid_number = self.settings.takes_invalid_numbers()
            && [&b"inf"[..], b"nan"]
                .iter()
                .any(|word| self.rest().get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word)));
        if is_invalid_number { self.number() } else { Token::Error("invalid token") }
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        let is_plain = digits.first().is_some_and(u8::is_ascii_digit)
            && !(digits[0] == b'0'
                && digits.get(1).is_some_and(|next| next.is_ascii_digit() || matches!(next, b'x' | b'X')));
        if !is_plain && !self.settings.takes_invalid_numbers() {
            return Token::Error("invalid number");
        }
        match strtod(rest) {
            Some((number, len)) => {
                self.at += len;
                Token::Number(number)
            }
            None => Token::Error("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            match rest.first() {
                None => {
                    self.token_at = self.at;
                    return Token::Error("unexpected end of string");
                }
                Some(b'"') => {
                    self.at += 1;
                    return Token::Text(text);
                }
                Some(b'\\') => {
                    let escaped = match rest.get(1) {
                        Some(b'u') => match unicode(rest) {
                            Some((character, len)) => {
                                let mut buffer = [0; 4];
                                text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                                self.at += len;
                                continue;
                            }
                            None => {
                                self.token_at = self.at;
                                return Token::Error("invalid unicode escape code");
                            }
                        },
                        Some(b'b') => 8,
                        Some(b't') => 9,
                        Some(b'n') => 10,
                        Some(b'f') => 12,
                        Some(b'r') => 13,
                        Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
                        _ => {
                            self.token_at = self.at;
                            return Token::Error("invalid escape code");
                        }
                    };
                    text.push(escaped);
                    self.at += 2;
                }
                Some(&byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn value(&mut self, token: Token) -> mlua::Result<Result<Value, Fault>> {
        Ok(Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::ObjectBegin => return self.nested(Self::object),
            Token::ArrayBegin => return self.nested(Self::array),
            other => return Ok(Err(self.unexpected("value", &other))),
        }))
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> mlua::Result<Result<Value, Fault>>,
    ) -> mlua::Result<Result<Value, Fault>> {
        self.depth += 1;
        if self.depth > self.settings.decode_depth_max.min(DEPTH_FITS) {
            let what =
                format!("Found too many nested data structures ({}) at character {}", self.depth, self.at);
            return Ok(Err(what));
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> mlua::Result<Result<Value, Fault>> {
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if token == Token::ObjectEnd {
            return Ok(Ok(Value::Table(table)));
        }
        loop {
            let Token::Text(key) = token else {
                return Ok(Err(self.unexpected("object key string", &token)));
            };
            let colon = self.next();
            if colon != Token::Colon {
                return Ok(Err(self.unexpected("colon", &colon)));
            }
            let token_of_value = self.next();
            match self.value(token_of_value)? {
                Ok(value) => table.raw_set(self.lua.create_string(key)?, value)?,
                Err(fault) => return Ok(Err(fault)),
            }
            match self.next() {
                Token::ObjectEnd => return Ok(Ok(Value::Table(table))),
                Token::Comma => token = self.next(),
                other => return Ok(Err(self.unexpected("comma or object end", &other))),
            }
        }
    }

    fn array(&mut self) -> mlua::Result<Result<Value, Fault>> {
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if token == Token::ArrayEnd {
            return Ok(Ok(Value::Table(table)));
        }
        for at in 1.. {
            match self.value(token)? {
                Ok(value) => table.raw_set(at, value)?,
                Err(fault) => return Ok(Err(fault)),
            }
            match self.next() {
                Token::ArrayEnd => break,
                Token::Comma => token = self.next(),
                other => return Ok(Err(self.unexpected("comma or array end", &other))),
            }
        }
        Ok(Ok(Value::Table(table)))
    }
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(..4)?).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// A character escaped as `\u` and four digits, or as two of them, and how long that is.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let first = hex4(text.get(2..)?)?;
    if (0xd800..0xdc00).contains(&first) {
        let rest = text.get(6..)?;
        let low = rest.strip_prefix(b"\\u").and_then(hex4).filter(|low| (0xdc00..0xe000).contains(low))?;
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
        return Some((char::from_u32(code)?, 12));
    }
    Some((char::from_u32(first)?, 6))
}

/// The number that C's `strtod` reads from the beginning of a text, and how long it is.
fn strtod(text: &[u8]) -> Option<(f64, usize)> {
    let sign_len = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let (sign, rest) = (if text.first() == Some(&b'-') { -1.0 } else { 1.0 }, &text[sign_len..]);
    let starts = |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    for (word, value) in [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if starts(word) {
            return Some((sign * value, sign_len + word.len()));
        }
    }
    if starts(b"0x") && rest.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (mut number, mut len) = (0.0, 2);
        for digit in digits {
            number = number * 16.0 + f64::from(char::from(*digit).to_digit(16)?);
            len += 1;
        }
        return Some((sign * number, sign_len + len));
    }
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    if rest.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if whole + fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    if end == 0 {
        return None;
    }
    if matches!(rest.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let exponent = if end + 1 + sign <= rest.len() { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number: f64 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((sign * number, sign_len + end))
}
