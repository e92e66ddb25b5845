//! What expressions say of given records, and what they say of their own mistakes.
//!
//! Given a record as JSON, when an expression meets it, then its result stands as JSON; an error as its code.
//! Invariant: the tables below read alone, without the code.

use super::*;
use crate::formats::Format;

const RECORD: &str = r#"{
    "n": 5, "half": 0.5, "big": 1e30, "fine": 0.1234567890123456789, "zero": 0, "max": 99999999999999999999,
    "s": "abc", "empty": "", "yes": true, "no": false, "nothing": null,
    "user": {"name": "Ann", "e-mail": "a@b", "in": 1, "tags": ["x", {"deep": 7}]},
    "one": {"a": 1, "b": [2]}, "same": {"b": [2.0], "a": 1e0}, "other": {"a": 1, "b": [3]}, "ünï": "ü", "@timestamp": 9
}"#;

fn result(source: &str) -> String {
    let record = Format::Json.read(Some(RECORD.as_bytes())).unwrap();
    let expr = Expr::parse(source).unwrap_or_else(|e| panic!("{source}: {e}"));
    match expr.eval(&record) {
        Ok(datum) => {
            let mut out = Vec::new();
            Format::Json.write(&datum, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
        Err(e) => e.code().to_string(),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (given, then) in cases {
        assert_eq!(result(given), *then, "{given}");
    }
}

fn mistake(source: &str) -> String {
    Expr::parse_filter(source).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn literals_stand_for_themselves() {
    check(&[
        ("12.50", "12.5"),
        ("-1e3", "-1000"),
        (r"'it\'s \\ \n'", r#""it's \\ \n""#),
        (r#""say \"x\" 'y'""#, r#""say \"x\" 'y'""#),
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("''", r#""""#),
    ]);
}

#[test]
fn paths_lead_through_objects_and_lists() {
    check(&[
        ("user.name", r#""Ann""#),
        ("user.`e-mail`", r#""a@b""#),
        ("user.in", "1"),
        ("user.tags.0", r#""x""#),
        ("user.tags.1.deep", "7"),
        ("user.tags.2", "null"),
        ("user.tags.x", "null"),
        ("s.name", "null"),
        ("missing.everywhere", "null"),
        ("one", r#"{"a":1,"b":[2]}"#),
        ("`ünï` == ünï", "true"),
        ("@timestamp", "9"),
    ]);
}

#[test]
fn arithmetic_is_exact_and_binds_as_at_school() {
    check(&[
        ("0.1 + 0.2", "0.3"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 4 - 3", "3"),
        ("100 / 10 / 5", "2"),
        ("2 / 3", "0.666666666666666667"),
        ("-n + -(-n) - -1", "1"),
        ("n * half", "2.5"),
        ("n - 1", "4"),
        ("n + nothing", "null"),
        ("-missing", "null"),
        ("nothing / zero", "null"),
        ("n / zero", "division-by-zero"),
        ("n / (zero * 2)", "division-by-zero"),
        ("max + 1", "overflow"),
        ("max * max", "overflow"),
        ("-max - max", "overflow"),
        ("s + 1", "wrong-type"),
        ("1 - yes", "wrong-type"),
        ("-one", "wrong-type"),
        ("big + 1", "number-too-large"),
    ]);
}

#[test]
fn a_number_keeps_its_digits_until_it_is_used() {
    check(&[
        ("big", "1e+30"),
        ("fine", "0.1234567890123456789"),
        ("fine + 0", "0.123456789012345679"),
        ("fine > 0.123456789012345678", "true"),
        ("big > 1", "number-too-large"),
        ("big is not null", "true"),
        ("big == 's'", "false"),
    ]);
}

#[test]
fn comparisons_are_by_type() {
    check(&[
        ("n == 5.0", "true"),
        ("n != 5", "false"),
        ("n < 10", "true"),
        ("n <= 5 && n >= 5", "true"),
        ("n > 5", "false"),
        ("0.5 == half", "true"),
        ("s == 'abc'", "true"),
        ("s < 'abd'", "true"),
        ("s > ''", "true"),
        ("'Z' < 'a'", "true"),
        ("'ü' > 'z'", "true"),
        ("yes == true", "true"),
        ("yes != no", "true"),
        ("n == '5'", "false"),
        ("one == same", "true"),
        ("one == other", "false"),
        ("one != other", "true"),
        ("one == n", "false"),
        ("n == s", "false"),
        ("n != s", "true"),
        ("n < s", "wrong-type"),
        ("s >= n", "wrong-type"),
        ("yes < no", "wrong-type"),
        ("one < other", "wrong-type"),
    ]);
}

#[test]
fn null_makes_null_and_is_asked_for_by_name() {
    check(&[
        ("nothing == n", "null"),
        ("nothing != n", "null"),
        ("missing == nothing", "null"),
        ("missing < 5", "null"),
        ("missing < s", "null"),
        ("missing in ['a']", "null"),
        ("missing not in ['a']", "null"),
        ("missing is null", "true"),
        ("nothing is null", "true"),
        ("n is null", "false"),
        ("n is not null", "true"),
        ("missing is not null", "false"),
        ("n + missing is null", "true"),
    ]);
}

#[test]
fn logic_is_that_of_sql() {
    check(&[
        ("yes && yes", "true"),
        ("yes && no", "false"),
        ("no || yes", "true"),
        ("no || no", "false"),
        ("!yes", "false"),
        ("!!yes", "true"),
        ("!missing", "null"),
        ("missing && no", "false"),
        ("no && missing", "false"),
        ("missing && yes", "null"),
        ("missing || yes", "true"),
        ("missing || no", "null"),
        ("no || no && yes || yes", "true"),
        ("yes || yes && no", "true"),
        ("(yes || yes) && no", "false"),
        ("s && yes", "wrong-type"),
        ("!n", "wrong-type"),
    ]);
}

#[test]
fn what_stands_behind_the_decision_is_not_looked_at() {
    check(&[
        ("zero != 0 && n / zero > 1", "false"),
        ("zero == 0 || n / zero > 1", "true"),
        ("missing && n / zero > 1", "division-by-zero"),
        ("zero == 0 && n / zero > 1", "division-by-zero"),
    ]);
}

#[test]
fn a_list_holds_values() {
    check(&[
        ("s in ['x', 'abc']", "true"),
        ("s in ['x', 'y',]", "false"),
        ("s not in ['x']", "true"),
        ("n in [1 + 4]", "true"),
        ("n in [5.0, s]", "true"),
        ("n in [s]", "false"),
        ("n in [missing, 5]", "true"),
        ("n in [missing, 6]", "null"),
        ("n not in [missing, 6]", "null"),
        ("!(n in [6])", "true"),
    ]);
}

#[test]
fn a_filter_takes_null_as_false() {
    let record = Format::Json.read(Some(RECORD.as_bytes())).unwrap();
    let test = |source: &str| Expr::parse_filter(source).unwrap().test(&record);
    assert_eq!(test("n == 5"), Ok(true));
    assert_eq!(test("missing == 5"), Ok(false));
    assert_eq!(test("!(missing == 5)"), Ok(false));
    assert_eq!(test("yes"), Ok(true));
    let error = test("user.name").unwrap_err();
    assert_eq!((error.code(), error.column()), ("wrong-type", 1));
    assert_eq!(error.to_string(), "column 1 of the expression: `user.name` is a text, not true or false");
    let error = test("yes && s < n").unwrap_err();
    assert_eq!(error.to_string(), "column 10 of the expression: < has no order between a text and a number");
}

#[test]
fn other_formats_are_compared_too() {
    struct Both<'a>(Document<'a>, Document<'a>);
    impl Lookup for Both<'_> {
        fn get(&self, path: &Path) -> Datum<'_> {
            if path[0].as_ref() == "key" { self.0.whole() } else { self.1.whole() }
        }
    }
    let double = |x: f64| x.to_be_bytes();
    let (nan, tenth, bytes) = (double(f64::NAN), double(0.1), b"\xff".to_vec());
    let read = |format: Format, bytes| format.read(Some(bytes)).unwrap();
    let both = Both(read(Format::Double, &tenth), read(Format::Bytes, &bytes));
    let test = |source: &str, lookup: &dyn Lookup| Expr::parse(source).unwrap().test(lookup).map_err(|e| e.code());
    assert_eq!(test("key == 0.1 && key + 0.2 == 0.3 && value == value && value != 'x'", &both), Ok(true));
    assert_eq!(test("key == value", &both), Ok(false));
    let both = Both(read(Format::Double, &nan), read(Format::Int32, &[0, 0, 0, 7]));
    assert_eq!(test("key == 1", &both), Err("not-a-number"));
    assert_eq!(test("key is not null && value == 7", &both), Ok(true));
}

#[test]
fn it_tells_which_fields_it_reads() {
    let expr = Expr::parse("b.c > a && (b.c in [d, `x.y`.z] || -e is null) && 'f' != a").unwrap();
    let paths: Vec<String> = expr.paths().iter().map(|p| p.join("/")).collect();
    assert_eq!(paths, ["b/c", "a", "d", "x.y/z", "e"]);
    assert_eq!(expr.to_string(), "b.c > a && (b.c in [d, `x.y`.z] || -e is null) && 'f' != a");
}

#[test]
fn a_path_alone_is_one_path() {
    let names = |source: &str| parse_path(source).map(|p| p.join("|")).map_err(|e| e.to_string());
    assert_eq!(names(" record.value "), Ok("record|value".into()));
    assert_eq!(names("`a b`.0"), Ok("a b|0".into()));
    assert_eq!(names("a b"), Err("column 3: only one field can stand here: drop what follows the name".into()));
    assert!(names("event-time").unwrap_err().contains("`event-time` in backticks"));
    for given in ["", "5", "'a'", "in", "(a)", "a.", ".a", "a..b", "``", "`a", "a+1"] {
        assert!(names(given).is_err(), "{given}");
    }
}

#[test]
fn a_mistake_says_where_and_what_to_write() {
    let cases = [
        ("a = 1", "column 3: `=` is no operator: write == to compare"),
        ("a === 1", "column 3: `===` is no operator: write == to compare"),
        ("a <> 1", "column 3: `<>` is no operator: write != for unequal"),
        ("a & b", "column 3: `&` is no operator: write && for and"),
        ("a and b", "column 3: expected an operator but found `and`: write && for and"),
        ("a OR b", "column 3: expected an operator but found `OR`: write || for or"),
        ("not a", "column 1: `not` cannot stand here: write ! for not, as in !(a == b)"),
        ("a < b < c", "column 7: a comparison of a comparison: write a < b && b < c, or use brackets"),
        ("(a == 1", "column 8: expected ) but found the end: close the bracket with )"),
        ("a == 1)", "column 7: expected an operator but found `)`: drop it, or open a bracket before"),
        ("ü == 'x", "column 6: this text has no end: close it with '"),
        ("a in 'x'", "column 6: a list must follow `in`: write in ['a', 'b']"),
        ("a is 5", "column 6: only null can follow `is`, not `5`: write == to compare"),
        ("a > 5h", "column 5: `5h`: not a number: write it as 12, 12.5 or 12e3"),
        (
            "lower(a) == 'x'",
            "column 1: `lower` is called like a function, and there are none: compare fields; count() and sum() belong under aggregate:",
        ),
        (
            "event-type == 'x'",
            "column 1: a name with a hyphen, or a subtraction?: to name a field, `event-type` in backticks; to subtract, spaces around the -",
        ),
        ("a # b", "column 3: unexpected character `#`: put texts in '...', odd names in `...`"),
        (
            "",
            "column 1: expected a value but found the end: write a field, a number, a text in quotes, true, false or ( ... )",
        ),
    ];
    for (given, then) in cases {
        assert_eq!(mistake(given), then, "{given}");
    }
}

#[test]
fn what_literals_show_to_be_wrong_is_refused_at_once() {
    let cases = [
        ("'a' < 1", "column 5: < between a text and a number never holds"),
        ("1 == 'a'", "column 3: == between a number and a text never holds"),
        ("a + 1 == 'x'", "column 7: == between a number and a text never holds"),
        ("a in [1] == 'x'", "column 10: a comparison of a comparison"),
        ("(a in [1]) == 'x'", "column 12: == between true or false and a text never holds"),
        ("!a == 'x'", "column 4: == between true or false and a text never holds: put the comparison in brackets"),
        ("true < false", "column 6: < has no order for true and false"),
        ("a == null", "column 3: == with null is always null, never true: write `is null`"),
        ("a in [null]", "column 3: in with null is always null"),
        ("1 in ['a']", "column 3: in between a number and a text never holds"),
        ("a in []", "column 3: nothing is in an empty list"),
        ("a + 'x' > 1", "column 5: + needs a number, not a text"),
        ("-'x' == 1", "column 2: - needs a number, not a text"),
        ("a && 1", "column 6: && needs true or false, not a number"),
        ("a || b + 1", "column 8: || needs true or false, not a number"),
        ("!'x'", "column 2: ! needs true or false, not a text"),
        ("a / 0 > 1", "column 3: a division by zero"),
        ("a / -0.0 > 1", "column 3: a division by zero"),
        ("amount + 1", "column 8: a filter is true or false, and this is a number: compare it with something"),
        ("'text'", "column 1: a filter is true or false, and this is a text"),
        ("null", "column 1: a filter is true or false, and this is null"),
        ("a > 0.1234567890123456789", "column 5: a number has at most 18 digits after the point"),
        ("a > 1e20", "column 5: `1e20`: number too large"),
    ];
    for (given, then) in cases {
        let found = mistake(given);
        assert!(found.starts_with(then), "{given}: {found}");
    }
    assert!(Expr::parse("amount + 1").is_ok(), "only a filter must be true or false");
}

#[test]
fn carets_stand_under_the_mistake() {
    let source = "yes &&\n  ünï === 'x'";
    let error = Expr::parse(source).unwrap_err();
    assert_eq!((error.column, &source[error.at.clone()]), (14, "==="));
    assert_eq!(error.caret(source), "  ünï === 'x'\n      ^^^");
    let error = Expr::parse("a ==").unwrap_err();
    assert_eq!(error.caret("a =="), "a ==\n    ^");
}

#[test]
fn no_text_is_too_deep_or_too_long_for_the_stack() {
    let hostile = [
        "(".repeat(1 << 20),
        "(".repeat(60_000),
        "!".repeat(60_000),
        "- ".repeat(30_000),
        "a in [".repeat(10_000),
        format!("1{}", " + 1".repeat(10_000)),
        format!("{}a{}", "(".repeat(64), ")".repeat(64)),
        "`".repeat(60_001),
        "\\".repeat(60_000),
        "a.".repeat(30_000),
    ];
    // Half of what a thread has by default.
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let run = small.spawn(move || {
        for text in hostile {
            let error = Expr::parse(&text).unwrap_err().to_string();
            assert!(error.len() < 300, "{} bytes", error.len());
        }
        let deep = format!("{}yes{}", "(".repeat(63), ")".repeat(63));
        assert_eq!(result(&deep), "true");
        let tall = format!("1{}", " + 1".repeat(63));
        assert_eq!(result(&tall), "64");
        let long = format!("no{}", " || no".repeat(9_000));
        assert_eq!(result(&long), "false");
    });
    run.unwrap().join().unwrap();
}

#[test]
fn no_mixture_of_tokens_ends_in_a_panic() {
    const PARTS: [&str; 36] = [
        "a",
        "n",
        "s",
        "user.name",
        "`x y`",
        "5",
        "0",
        "1e9",
        "'t'",
        "\"u\"",
        "true",
        "null",
        "in",
        "is",
        "not",
        "[",
        "]",
        "(",
        ")",
        ",",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        ".",
        "'",
        "ü",
        "=",
        "\\",
    ];
    let record = Format::Json.read(Some(RECORD.as_bytes())).unwrap();
    let (mut seed, mut parsed) = (7u64, 0);
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..seed % 9 + 1 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push_str(PARTS[(seed >> 33) as usize % PARTS.len()]);
            text.push_str(if seed >> 63 == 0 { " " } else { "" });
        }
        match Expr::parse(&text) {
            Ok(expr) => {
                parsed += 1;
                let twice = [expr.eval(&record), expr.eval(&record)];
                assert_eq!(twice[0], twice[1], "{text}");
            }
            Err(e) => assert!(!e.caret(&text).is_empty()),
        }
    }
    assert!(parsed > 1_000, "only {parsed} of the mixtures were expressions");
}
