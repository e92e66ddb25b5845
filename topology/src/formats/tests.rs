//! What the formats read and write, and what they refuse.
//!
//! Given bytes or a datum, when a format takes them, then the other side is as Kafka's serdes and RFC 8259 have it.
//! Invariant: every refusal is looked at for payload.

use super::*;
use crate::decimal::Decimal;

fn read(format: Format, bytes: &[u8]) -> Result<Datum<'static>, FormatError> {
    Ok(format.read(Some(bytes))?.whole().into_owned())
}

fn number(text: &str) -> Datum<'static> {
    Datum::Number(Decimal::parse(text).unwrap())
}

fn text(text: &str) -> Datum<'_> {
    Datum::Text(Cow::Borrowed(text))
}

fn digits(text: &str) -> Datum<'_> {
    Datum::Digits(Cow::Borrowed(text))
}

fn written(format: Format, datum: &Datum<'_>) -> Result<Vec<u8>, &'static str> {
    let mut out = b"before".to_vec();
    let result = format.write(datum, &mut out);
    let added = out.strip_prefix(b"before").expect("what was there stays").to_vec();
    match result {
        Ok(()) => Ok(added),
        Err(e) => {
            assert!(added.is_empty(), "an error leaves nothing behind");
            Err(e.code())
        }
    }
}

fn as_text(format: Format, datum: &Datum<'_>) -> Result<String, &'static str> {
    written(format, datum).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn names_are_those_of_the_yaml() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        assert_eq!(serde_json::from_str::<Format>(&format!("\"{format}\"")).unwrap(), format);
    }
    assert_eq!(Format::from_name("JSON"), None);
    assert!(serde_json::from_str::<Format>("\"text\"").is_err());
}

#[test]
fn an_absent_value_is_null_in_every_format() {
    for format in Format::ALL {
        assert_eq!(format.read(None).unwrap().whole(), Datum::Null);
    }
    assert_eq!(read(Format::String, b""), Ok(text("")));
    assert_eq!(read(Format::Bytes, b""), Ok(Datum::Bytes(Cow::Borrowed(b""))));
}

#[test]
fn primitives_are_those_of_kafka() {
    assert_eq!(read(Format::Int32, &[0xff, 0xff, 0xff, 0xfe]), Ok(number("-2")));
    assert_eq!(read(Format::Int64, &[0, 0, 0, 0, 0, 0, 1, 0]), Ok(number("256")));
    assert_eq!(read(Format::Int64, &i64::MIN.to_be_bytes()), Ok(number("-9223372036854775808")));
    assert_eq!(read(Format::Double, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), Ok(Datum::Double(1.5)));
    assert_eq!(read(Format::String, "grün".as_bytes()), Ok(text("grün")));
    assert_eq!(written(Format::Int32, &number("-2")), Ok(vec![0xff, 0xff, 0xff, 0xfe]));
    assert_eq!(written(Format::Int64, &number("256")), Ok(vec![0, 0, 0, 0, 0, 0, 1, 0]));
    assert_eq!(written(Format::Double, &number("1.5")), Ok(vec![0x3f, 0xf8, 0, 0, 0, 0, 0, 0]));
    for (format, wrong) in [(Format::Int32, 8), (Format::Int64, 4), (Format::Double, 0), (Format::Int32, 5)] {
        let error = read(format, &vec![0; wrong]).unwrap_err();
        assert_eq!(error.code(), "wrong-length");
        assert!(error.to_string().contains(&format!("not {wrong}")), "{error}");
    }
}

#[test]
fn a_number_is_written_exactly_or_refused() {
    let cases = [
        (Format::Int32, number("2147483647"), Ok("2147483647")),
        (Format::Int32, number("2147483648"), Err("out-of-range")),
        (Format::Int32, number("-2147483649"), Err("out-of-range")),
        (Format::Int64, number("9223372036854775808"), Err("out-of-range")),
        (Format::Int64, number("1.5"), Err("not-whole")),
        (Format::Int64, number("1e2"), Ok("100")),
        (Format::Int64, Datum::Double(3.0), Ok("3")),
        (Format::Int64, Datum::Double(3.5), Err("not-whole")),
        (Format::Int64, Datum::Double(1e-30), Err("not-whole")),
        (Format::Int64, Datum::Double(1e300), Err("out-of-range")),
        (Format::Int64, Datum::Double(f64::NAN), Err("not-a-number")),
        (Format::Int64, digits("0.9999999999999999999"), Err("not-whole")),
        (Format::Int64, digits("1e30"), Err("out-of-range")),
        (Format::Int64, text("5"), Err("wrong-type")),
        (Format::Int64, Datum::Bool(true), Err("wrong-type")),
        (Format::Double, text("5"), Err("wrong-type")),
        (Format::Double, digits("1e400"), Err("out-of-range")),
    ];
    for (format, given, then) in cases {
        let found = written(format, &given).map(|bytes| match read(format, &bytes).unwrap() {
            Datum::Number(n) => n.to_string(),
            other => panic!("{other:?}"),
        });
        assert_eq!(found, then.map(str::to_string), "{given:?} as {format}");
    }
    let big = written(Format::Double, &digits("1e30")).unwrap();
    assert_eq!(read(Format::Double, &big), Ok(Datum::Double(1e30)));
    let quiet = f64::from_bits(0x7ff8_0000_0000_0001);
    assert_eq!(written(Format::Double, &Datum::Double(quiet)), Ok(quiet.to_be_bytes().to_vec()));
}

#[test]
fn a_double_is_a_number_where_one_is_needed() {
    assert_eq!(Datum::Double(0.1).number(), Ok(Some(Decimal::parse("0.1").unwrap())));
    for given in [f64::NAN, f64::INFINITY] {
        assert_eq!(Datum::Double(given).number().unwrap_err().code(), "not-a-number");
        assert_eq!(as_text(Format::Json, &Datum::Double(given)), Err("not-a-number"));
        assert_eq!(as_text(Format::String, &Datum::Double(given)), Err("not-a-number"));
    }
    assert_eq!(Datum::Double(1e300).number().unwrap_err().code(), "number-too-large");
    assert_eq!(Datum::Null.number(), Ok(None));
    assert_eq!(text("5").number().unwrap_err().to_string(), "not a number but a text");
    assert_eq!(digits("1.0000000000000000005").number(), Ok(Some(Decimal::parse("1.000000000000000001").unwrap())));
}

#[test]
fn json_keeps_the_digits_of_numbers() {
    let cases = [("1.50", number("1.5")), ("-0", number("0")), ("12e2", number("1200")), ("1E-18", number("1e-18"))];
    for (given, then) in cases {
        assert_eq!(read(Format::Json, given.as_bytes()), Ok(then), "{given}");
    }
    // The parser writes an exponent with its sign; the digits are the record's own.
    assert_eq!(read(Format::Json, b"1e400"), Ok(digits("1e+400")));
    for given in ["123456789012345678901234567890", "0.1234567890123456789", "1e+400", "-1.5e-300"] {
        assert_eq!(read(Format::Json, given.as_bytes()), Ok(digits(given)));
        assert_eq!(as_text(Format::Json, &digits(given)), Ok(given.to_string()));
    }
    let document = r#"{"b":1.10,"a":[1e+400,{"c":"ü\n"}],"n":null}"#;
    let whole = read(Format::Json, document.as_bytes()).unwrap();
    assert_eq!(as_text(Format::Json, &whole), Ok(document.to_string()));
}

#[test]
fn fields_are_found_by_their_path() {
    let bytes = br#" {"a":{"b":[10,{"c":true}],"":1},"a.b":2,"d":1,"d":{"e":"last"},"s":"x"} "#;
    let document = Format::Json.read(Some(bytes)).unwrap();
    let cases: [(&[&str], Datum<'_>); 11] = [
        (&["a", "b", "0"], number("10")),
        (&["a", "b", "1", "c"], Datum::Bool(true)),
        (&["a", "b", "2"], Datum::Null),
        (&["a", "b", "-1"], Datum::Null),
        (&["a", "b", "x"], Datum::Null),
        (&["a", "b", "99999999999999999999999"], Datum::Null),
        (&["a", ""], number("1")),
        (&["a.b"], number("2")),
        (&["d", "e"], text("last")),
        (&["s", "x"], Datum::Null),
        (&["nothing", "at", "all"], Datum::Null),
    ];
    for (path, then) in cases {
        assert_eq!(document.get(path), then, "{path:?}");
    }
    assert_eq!(document.get(&["a"]).kind(), Kind::Object);
    assert_eq!(document.get(&["a", "b"]).kind(), Kind::List);
    assert_eq!(Document::from_datum(document.get(&["a"])).get(&["b", "0"]), number("10"));
    assert_eq!(Format::Int32.read(Some(&[0, 0, 0, 1])).unwrap().get(&["a"]), Datum::Null);
    assert!(document.json().is_some() && Document::NULL.json().is_none());
}

#[test]
fn what_is_not_json_is_refused_without_quoting_it() {
    let deep = "[".repeat(1 << 20);
    let mut bad = vec!["", " ", "{", "{\"secret\":}", "[1,]", "secret", "1 2", "01", "NaN", "\"secret\u{1}\"", &deep];
    bad.push(r#"{"$serde_json::private::Number":77777}"#);
    bad.push(r#"{"$serde_json::private::Number":"secret"}"#);
    for given in bad {
        let error = read(Format::Json, given.as_bytes()).expect_err(given);
        let line = error.to_string();
        assert_eq!(error.code(), "not-json");
        assert!(line.starts_with("not JSON: ") && line.contains(" column "), "{line}");
        assert!(!line.contains("secret") && !line.contains("77777"), "{line}");
    }
    assert!(read(Format::Json, deep.as_bytes()).unwrap_err().to_string().contains("too deep"));
    assert_eq!(read(Format::Json, b"\"\xff\"").unwrap_err().code(), "not-json");
    let fine = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert!(read(Format::Json, fine.as_bytes()).is_ok());
}

#[test]
fn text_must_be_utf8() {
    let error = read(Format::String, b"secret\xff").unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("not-utf8", "not UTF-8 text: byte 7 of 7"));
}

#[test]
fn text_takes_scalars_and_bytes_take_text() {
    assert_eq!(as_text(Format::String, &text("a \"b\"")), Ok("a \"b\"".into()));
    assert_eq!(as_text(Format::String, &number("12.50")), Ok("12.5".into()));
    assert_eq!(as_text(Format::String, &digits("1e30")), Ok("1e30".into()));
    assert_eq!(as_text(Format::String, &Datum::Double(0.5)), Ok("0.5".into()));
    assert_eq!(as_text(Format::String, &Datum::Bool(true)), Ok("true".into()));
    assert_eq!(as_text(Format::Bytes, &text("a")), Ok("a".into()));
    assert_eq!(written(Format::Bytes, &Datum::Bytes(Cow::Borrowed(b"\xff"))), Ok(vec![0xff]));
    assert_eq!(as_text(Format::Bytes, &number("1")), Err("wrong-type"));
    assert_eq!(as_text(Format::String, &Datum::Bytes(Cow::Borrowed(b"a"))), Err("wrong-type"));
    assert_eq!(as_text(Format::String, &read(Format::Json, b"{}").unwrap()), Err("wrong-type"));
    for format in Format::ALL {
        let then = if format == Format::Json { Ok("null".to_string()) } else { Err("null") };
        assert_eq!(as_text(format, &Datum::Null), then);
    }
}

#[test]
fn bytes_are_base64_in_json() {
    // RFC 4648, section 10, and the two characters that it leaves out.
    let cases: [(&[u8], &str); 8] = [
        (b"", ""),
        (b"f", "Zg=="),
        (b"fo", "Zm8="),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg=="),
        (b"fooba", "Zm9vYmE="),
        (b"foobar", "Zm9vYmFy"),
        (b"\xfb\xff\xbf", "+/+/"),
    ];
    for (given, then) in cases {
        assert_eq!(as_text(Format::Json, &Datum::Bytes(Cow::Borrowed(given))), Ok(format!("\"{then}\"")));
    }
}

#[test]
fn what_is_written_is_read_back() {
    let whole = read(Format::Json, br#"{"a":[1,"x",null,true,1.25]}"#).unwrap();
    let cases = [
        (Format::Json, whole),
        (Format::Json, text("\u{0}\u{1f}\"\\ü😀")),
        (Format::Json, Datum::Bool(false)),
        (Format::String, text("\u{0}ü")),
        (Format::Int32, number("-2147483648")),
        (Format::Int64, number("9223372036854775807")),
        (Format::Double, Datum::Double(-0.0)),
        (Format::Bytes, Datum::Bytes(Cow::Borrowed(&[0, 255]))),
    ];
    for (format, given) in cases {
        let bytes = written(format, &given).unwrap();
        assert_eq!(read(format, &bytes), Ok(given.as_borrowed().into_owned()), "{given:?} as {format}");
    }
}
