//! Changing fields in the bytes of a JSON document; what is not named stays as it was written, byte for byte.
//!
//! Called where a copy of a changed record is made, and where dead letters are redacted. Knows nothing of operators.
//! Invariant: read again, the result is the document with the same changes made; and a field that is removed is removed
//! wherever it stands, also where a later one of the same name hides it.

use serde_json::Value;

/// One field to be written or removed. No path begins with another one.
#[derive(Debug)]
pub(crate) struct Edit<'e> {
    pub path: &'e [Box<str>],
    /// None: it is removed.
    pub value: Option<&'e Value>,
    /// Whether the object being written has it.
    seen: bool,
}

impl<'e> Edit<'e> {
    pub fn new(path: &'e [Box<str>], value: Option<&'e Value>) -> Edit<'e> {
        Edit { path, value, seen: false }
    }
}

/// Appends `json`, changed. It must be a document that has been read: what is no JSON comes out as something else that
/// is none.
pub(crate) fn splice(json: &[u8], edits: &mut [Edit<'_>], out: &mut Vec<u8>) {
    edits.sort_by(|a, b| a.path.cmp(b.path));
    let mut cutter = Cutter { json, at: 0, out };
    cutter.space();
    cutter.value(edits, Depth { names: 0, in_list: false });
    cutter.out.extend_from_slice(&json[cutter.at.min(json.len())..]);
}

/// As [`splice`], of an object that has none of the fields, which are all its own: they come behind its last one.
pub(crate) fn append_to(json: &str, edits: &mut [Edit<'_>], out: &mut Vec<u8>) {
    edits.sort_by(|a, b| a.path.cmp(b.path));
    let (fields, end) = json.split_at(json.rfind('}').unwrap_or(json.len()));
    out.extend_from_slice(fields.as_bytes());
    append(edits, (0, fields.trim_ascii_end().ends_with('{')), out);
    out.extend_from_slice(end.as_bytes());
}

/// How far into the paths, and whether behind a list, where only removals go.
#[derive(Clone, Copy)]
struct Depth {
    names: usize,
    in_list: bool,
}

struct Cutter<'j> {
    json: &'j [u8],
    at: usize,
    out: &'j mut Vec<u8>,
}

impl Cutter<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    /// Copies white space.
    fn space(&mut self) {
        let from = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.out.extend_from_slice(&self.json[from..self.at]);
    }

    /// One byte, as it is.
    fn byte(&mut self) {
        self.out.extend(self.peek());
        self.at += 1;
    }

    fn value(&mut self, edits: &mut [Edit<'_>], depth: Depth) {
        match self.peek() {
            Some(b'{') => self.object(edits, depth),
            Some(b'[') => self.list(edits, depth),
            _ => {
                let from = self.at;
                self.skip();
                let sets = !depth.in_list && edits.iter().any(|e| e.value.is_some());
                if &self.json[from..self.at.min(self.json.len())] == b"null" && sets && depth.names > 0 {
                    edits.iter_mut().for_each(|e| e.seen = false);
                    missing(edits, depth.names, self.out);
                } else {
                    self.copy_from(from);
                }
            }
        }
    }

    fn copy_from(&mut self, from: usize) {
        self.out.extend_from_slice(&self.json[from..self.at.min(self.json.len())]);
    }

    fn list(&mut self, edits: &mut [Edit<'_>], depth: Depth) {
        self.byte();
        loop {
            self.space();
            match self.peek() {
                Some(b']') => return self.byte(),
                Some(b',') => self.byte(),
                Some(_) => self.value(edits, Depth { in_list: true, ..depth }),
                None => return,
            }
        }
    }

    fn object(&mut self, edits: &mut [Edit<'_>], depth: Depth) {
        edits.iter_mut().for_each(|e| e.seen = false);
        self.byte();
        let mut first = true;
        loop {
            let mark = self.out.len();
            if !first {
                self.out.push(b',');
            }
            self.space();
            if self.peek() != Some(b'"') {
                // An empty object: its white space stays, and a comma was not meant.
                break;
            }
            match self.member(edits, depth) {
                true => first = false,
                false => self.out.truncate(mark),
            }
            if self.peek() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        if !depth.in_list {
            append(edits, (depth.names, first), self.out);
        }
        self.byte();
    }

    /// From the name to the white space behind the value. False: it is removed.
    fn member(&mut self, edits: &mut [Edit<'_>], depth: Depth) -> bool {
        let from = self.at;
        self.string();
        let name = &self.json[from..self.at];
        let range = named(edits, depth.names, name);
        self.copy_from(from);
        self.space();
        self.byte();
        self.space();
        let edits = &mut edits[range];
        let names = depth.names + 1;
        let from = self.at;
        let leaf = edits.first().is_none_or(|edit| edit.path.len() == names);
        if leaf {
            self.skip();
        } else {
            self.value(edits, Depth { names, ..depth });
        }
        let keep = match edits.first() {
            Some(Edit { value: None, .. }) if leaf => false,
            Some(Edit { value: Some(value), .. }) if leaf && !depth.in_list => {
                write(*value, self.out);
                true
            }
            _ if leaf => {
                self.copy_from(from);
                true
            }
            _ => true,
        };
        edits.iter_mut().for_each(|e| e.seen = true);
        self.space();
        keep
    }

    /// Past a string, from its first quote.
    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    /// Past a value of any kind.
    fn skip(&mut self) {
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => self.scalar(),
            }
            if open == 0 {
                return;
            }
        }
    }

    fn scalar(&mut self) {
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let rest = &self.json[self.at..];
        self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
    }
}

/// The edits whose path goes on with this name, which stands in its quotes.
fn named(edits: &[Edit<'_>], depth: usize, quoted: &[u8]) -> std::ops::Range<usize> {
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    // A name may be written with escapes, and still be the one that must not leave.
    let decoded = plain.contains(&b'\\').then(|| serde_json::from_slice::<String>(quoted).unwrap_or_default());
    let name = decoded.as_deref().map_or(plain, str::as_bytes);
    let is = |e: &Edit<'_>| e.path[depth].as_bytes() == name;
    let from = edits.iter().position(is).unwrap_or(edits.len());
    let count = edits[from..].iter().take_while(|e| is(e)).count();
    from..from + count
}

/// The fields that are written and stand nowhere yet. `first`: nothing stands in the object so far.
fn append(edits: &[Edit<'_>], (depth, mut first): (usize, bool), out: &mut Vec<u8>) {
    for group in edits.chunk_by(|a, b| a.path[depth] == b.path[depth]) {
        if group[0].seen || group.iter().all(|e| e.value.is_none()) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write(&*group[0].path[depth], out);
        out.push(b':');
        match group {
            [Edit { path, value: Some(value), .. }] if path.len() == depth + 1 => write(*value, out),
            group => missing(group, depth + 1, out),
        }
    }
}

/// An object that was not there.
fn missing(edits: &[Edit<'_>], depth: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    append(edits, (depth, true), out);
    out.push(b'}');
}

fn write(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes every byte, and names are texts");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::edit;
    use serde_json::json;

    fn path(text: &str) -> Vec<Box<str>> {
        text.split('.').map(Into::into).collect()
    }

    #[test]
    fn new_fields_of_an_object_are_appended_as_they_are_spliced() {
        let paths = [path("z"), path("é"), path("a b")];
        let values = [json!(true), json!({ "}": "}" }), json!(null)];
        for text in ["{}", " { } ", "{\n}", "{\"x\":1}", " {\"x\":{\"z\":1} \n}\n", "{\"x\":\"}\"}", "{\"x\":\"{\" }"] {
            for count in 0..=3 {
                let edits = || -> Vec<Edit<'_>> {
                    paths.iter().zip(&values).take(count).map(|(path, value)| Edit::new(path, Some(value))).collect()
                };
                let (mut one, mut other) = (Vec::new(), Vec::new());
                splice(text.as_bytes(), &mut edits(), &mut one);
                append_to(text, &mut edits(), &mut other);
                assert_eq!(String::from_utf8(other).unwrap(), String::from_utf8(one).unwrap(), "{text:?}");
            }
        }
    }

    fn spliced(json: &str, edits: &[(&str, Option<Value>)]) -> String {
        let paths: Vec<Vec<Box<str>>> = edits.iter().map(|(p, _)| path(p)).collect();
        let mut all: Vec<Edit<'_>> = paths.iter().zip(edits).map(|(p, (_, v))| Edit::new(p, v.as_ref())).collect();
        let mut out = b"before".to_vec();
        splice(json.as_bytes(), &mut all, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn what_is_not_named_stays_as_it_was_written() {
        let json = " { \"a\" : 1.50 ,\n \"b\":{ \"x\" : \"\\u0041\" , \"y\":[1 , 2] } , \"c\":1e2 } ";
        for (edits, wanted) in [
            (vec![], json.to_owned()),
            (vec![("d", Some(json!(true)))], json.replace("1e2 } ", "1e2 ,\"d\":true} ")),
            (vec![("a", Some(json!({"k": null})))], json.replace("1.50", "{\"k\":null}")),
            (vec![("a", None)], json.replace(" \"a\" : 1.50 ,", "")),
            (vec![("c", None)], json.replace(", \"c\":1e2 ", "")),
            (vec![("b.x", None), ("none", None)], json.replace(" \"x\" : \"\\u0041\" ,", "")),
            (
                vec![("b.z.u", Some(json!(1))), ("b.z.v", Some(json!(2)))],
                json.replace("2] }", "2] ,\"z\":{\"u\":1,\"v\":2}}"),
            ),
        ] {
            assert_eq!(spliced(json, &edits), wanted, "{edits:?}");
        }
        assert_eq!(spliced("{ }", &[("a", Some(json!(1)))]), "{ \"a\":1}");
        assert_eq!(spliced("{\"a\":null}", &[("a.b", Some(json!(1)))]), "{\"a\":{\"b\":1}}");
    }

    /// Readers differ in which of two equal names they take: neither may be what was to go.
    #[test]
    fn a_hidden_or_escaped_name_is_removed_too() {
        let gone = [("a.ip", None), ("ip", None)];
        assert_eq!(spliced(r#"{"ip":1,"x":2,"ip":3}"#, &gone), r#"{"x":2}"#);
        assert_eq!(spliced(r#"{"\u0069p":"\"ip\"","x":"\\","a":{"i\u0070":"}"}}"#, &gone), r#"{"x":"\\","a":{}}"#);
        assert_eq!(
            spliced(r#"{"a":[{"ip":1},[{"ip":2,"k":3}],"ip"],"a":{"ip":4},"a":5}"#, &gone),
            r#"{"a":[{},[{"k":3}],"ip"],"a":{},"a":5}"#
        );
    }

    struct Rng(u64);

    impl Rng {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }

        fn pick(&mut self, of: &[&str]) -> String {
            of[self.below(of.len() as u64) as usize].to_owned()
        }

        /// Few names, so that paths meet and names repeat.
        fn json(&mut self, depth: u32) -> String {
            let kinds = if depth == 0 { 4 } else { 8 };
            let space = self.pick(&["", "", " ", "\n"]);
            match self.below(kinds) {
                0 => self.pick(&["1", "-0.50", "1e400", "123456789012345678901234567890"]) + &space,
                1 => self.pick(&["null", "true", "false"]),
                2 => self.pick(&[r#""""#, r#""a\\""#, r#""{\"a\":1}""#, r#""\u00fc,]}""#]) + &space,
                3 => self.pick(&["[]", "{}", "{ }", "[ ]"]),
                4 => {
                    let items: Vec<String> = (0..self.below(4)).map(|_| self.json(depth - 1)).collect();
                    format!("[{space}{}]", items.join(","))
                }
                _ => self.object(depth - 1),
            }
        }

        fn object(&mut self, depth: u32) -> String {
            let space = self.pick(&["", "", " "]);
            let names = [r#""a""#, r#""b""#, r#""c" "#, r#""\u0061""#];
            let fields: Vec<String> = (0..self.below(5))
                .map(|_| format!("{space}{}:{space}{}", self.pick(&names), self.json(depth)))
                .collect();
            format!("{{{}{space}}}", fields.join(","))
        }
    }

    /// The bytes that are cut say what the tree says that is edited.
    #[test]
    fn spliced_bytes_read_again_are_the_edited_tree() {
        let mut rng = Rng(7);
        let paths: Vec<Vec<Box<str>>> =
            ["a", "b", "a.b", "a.c", "b.a", "b.b.a", "c.a.b", "c.d.e", "d"].iter().map(|p| path(p)).collect();
        for round in 0..20_000 {
            let text = rng.object(4);
            let mut tree: Value = serde_json::from_str(&text).unwrap();
            let mut touched: Vec<&[Box<str>]> = Vec::new();
            for _ in 0..rng.below(4) {
                let mut path = &paths[rng.below(paths.len() as u64) as usize][..];
                match rng.below(2) {
                    0 => drop(edit::remove(&mut tree, path)),
                    _ => match edit::set(&mut tree, path, json!(round)) {
                        Ok(undo) => path = &path[..undo.depth(path)],
                        Err(_) => continue,
                    },
                }
                if !touched.iter().any(|t| path.starts_with(t)) {
                    touched.retain(|t| !t.starts_with(path));
                    touched.push(path);
                }
            }
            let find = |path: &[Box<str>]| path.iter().try_fold(&tree, |at, name| at.get(&**name));
            let mut edits: Vec<Edit<'_>> = touched.iter().map(|p| Edit::new(p, find(p))).collect();
            let mut out = Vec::new();
            splice(text.as_bytes(), &mut edits, &mut out);
            let read: Value = serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read, tree, "{text} with {touched:?} became {}", String::from_utf8_lossy(&out));
        }
    }
}
