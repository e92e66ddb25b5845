//! `${NAME}` and `${NAME:-default}` in a text of YAML, before it is parsed; a default may hold another variable. `$$` is one dollar.
//!
//! Called by [`parse`](super::parse). Knows nothing of keys. Invariant: a value from outside stays one scalar: inside of
//! quotes it is escaped for them, and it has no line breaks; comments are left alone, and lines keep their numbers.

use super::fields::Mistakes;
use super::tree::At;

const OPEN: &str = "'${' without '}'; close it, or write '$$' for a dollar";

/// What the scanner stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Plain,
    Single,
    Double,
    Comment,
}

pub(super) fn substitute(text: &str, env: &dyn Fn(&str) -> Option<String>, mistakes: &mut Mistakes) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        line_of(line, index + 1, &mut out, &mut |name| env(name), mistakes);
    }
    out
}

fn line_of(
    line: &str,
    number: usize,
    out: &mut String,
    env: &mut dyn FnMut(&str) -> Option<String>,
    mistakes: &mut Mistakes,
) {
    let (mut state, mut before, mut rest) = (In::Plain, ' ', line);
    while let Some(c) = rest.chars().next() {
        let column = line.len() - rest.len() + 1;
        let at = At { line: number, column };
        if state != In::Comment && rest.starts_with("$$") {
            out.push('$');
            rest = &rest[2..];
        } else if state != In::Comment && rest.starts_with("${") {
            let Some(end) = end_of(rest) else { return mistakes.add(at, OPEN.to_owned()) };
            match value_of(&rest[2..end], env) {
                Ok(value) => escape(&value, state, out),
                Err(text) => mistakes.add(at, text),
            }
            rest = &rest[end + 1..];
        } else {
            state = next(state, before, c);
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
        before = c;
    }
}

/// Where the scanner stands behind `c`. A quote opens only where a scalar can begin, so `it's` is plain.
fn next(state: In, before: char, c: char) -> In {
    let begins = before.is_whitespace() || "[{,:-\"'".contains(before);
    match (state, c) {
        (In::Plain, '#') if before.is_whitespace() => In::Comment,
        (In::Plain, '\'') if begins => In::Single,
        (In::Plain, '"') if begins => In::Double,
        (In::Single, '\'') => In::Plain,
        (In::Double, '"') if before != '\\' => In::Plain,
        _ => state,
    }
}

/// Where the variable ends that a text begins with.
fn end_of(text: &str) -> Option<usize> {
    let (mut open, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'$' if text.as_bytes().get(at + 1) == Some(&b'{') => (open, at) = (open + 1, at + 1),
            b'}' if open == 1 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// A default, with the variables in it.
fn filled(default: &str, env: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), default);
    while let Some(at) = rest.find("${") {
        let end = at + end_of(&rest[at..]).ok_or(OPEN)?;
        out += &rest[..at];
        out += &value_of(&rest[at + 2..end], env)?;
        rest = &rest[end + 1..];
    }
    Ok(out + rest)
}

fn value_of(inside: &str, env: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("'${{{inside}}}' names no variable; write ${{NAME}} or ${{NAME:-default}}"));
    }
    let value = match env(name).filter(|v| !v.is_empty() || default.is_none()) {
        Some(value) => value,
        None => match default {
            Some(default) => filled(default, env)?,
            None => {
                return Err(format!("environment variable {name} is not set; set it, or write ${{{name}:-default}}"));
            }
        },
    };
    match value.contains(['\n', '\r']) {
        true => Err(format!("environment variable {name} holds a line break; set it to one line")),
        false => Ok(value),
    }
}

fn escape(value: &str, state: In, out: &mut String) {
    match state {
        In::Single => out.push_str(&value.replace('\'', "''")),
        In::Double => out.push_str(&value.replace('\\', "\\\\").replace('"', "\\\"")),
        In::Plain | In::Comment => out.push_str(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> (String, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let env = |name: &str| match name {
            "SET" => Some("a\"b".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let out = substitute(text, &env, &mut mistakes);
        (out, mistakes.lines("f"))
    }

    #[test]
    fn variables_are_put_in_and_stay_one_scalar() {
        for (text, want) in [
            ("a: ${SET}", "a: a\"b"),
            ("a: \"${SET}\"", "a: \"a\\\"b\""),
            ("a: \"${NONE:-x:1}\" # ${NONE}", "a: \"x:1\" # ${NONE}"),
            ("# ${NONE}\na: $$1", "# ${NONE}\na: $1"),
            ("a: it's ${EMPTY:-d}${EMPTY}", "a: it's d"),
            ("a: ${NONE:-x${EMPTY:-y}z}}", "a: xyz}"),
            ("a: \"${NONE:-${SET}}\"", "a: \"a\\\"b\""),
        ] {
            assert_eq!(with(text), (want.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_named_with_its_place() {
        let lines = with("a: 1\nb: ${NONE}\n").1;
        assert_eq!(lines, ["f:2:4: environment variable NONE is not set; set it, or write ${NONE:-default}"]);
        assert!(with("a: ${oops").1[0].contains("without '}'") && with("a: ${A:-${B}").1[0].contains("without '}'"));
        assert!(with("a: ${A:-${B}}").1[0].contains("variable B is not set"));
    }
}
