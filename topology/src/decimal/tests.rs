//! Digits in, digits out, and exact between: the tests of [`super`]. Knows nothing of JSON. Invariant: nothing is rounded unless a test says so.

use super::*;
use std::cmp::Ordering;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn shown(text: &str) -> String {
    dec(text).to_string()
}

#[test]
fn a_number_is_shown_plainly() {
    let cases = [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0e5", "0"),
        ("12.500", "12.5"),
        ("-7", "-7"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("-12.5e-3", "-0.0125"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        ("0.00000000000000000000000000000000000012e37", "1.2"),
        ("123456789012345678901234567890e-15", "123456789012345.67890123456789"),
    ];
    for (given, then) in cases {
        assert_eq!(shown(given), then, "{given}");
    }
    assert_eq!(format!("{:>6}|{:<6}|{:+}", dec("1.5"), dec("-1.5"), dec("2")), "   1.5|-1.5  |+2");
}

#[test]
fn digits_past_the_eighteenth_are_rounded_half_away_from_zero() {
    assert_eq!(shown("0.0000000000000000005"), "0.000000000000000001");
    assert_eq!(shown("-0.0000000000000000005"), "-0.000000000000000001");
    assert_eq!(shown("0.00000000000000000049999"), "0");
    assert_eq!(shown("1.9999999999999999995"), "2");
    assert_eq!(shown("5e-19"), "0.000000000000000001");
    assert_eq!(shown("9e-20"), "0");
    assert_eq!(shown("1e-999999999999999999999999"), "0");
    assert_eq!(shown("0e999999999999999999999999"), "0");
    assert_eq!(Decimal::parse_exact("1.0000000000000000001"), Ok(None));
    assert_eq!(Decimal::parse_exact("1.0000000000000000000"), Ok(Some(Decimal::ONE)));
    assert_eq!(Decimal::parse_exact("1e-19"), Ok(None));
    assert_eq!(Decimal::parse_exact("10e-19"), Ok(Some(Decimal(1))));
}

#[test]
fn what_is_too_large_or_no_number_is_refused() {
    for given in
        ["100000000000000000000", "-1e20", "1e999999999999999999999", "99999999999999999999.9999999999999999995"]
    {
        assert_eq!(Decimal::parse(given), Err(DecimalError::TooLarge), "{given}");
    }
    for given in [
        "", "-", "+1", "01", "-01", ".5", "1.", "1.e3", "1e", "1e+", "0x1", "1 ", " 1", "1_000", "NaN", "1..2", "--1",
        "1e1.5", "١",
    ] {
        assert_eq!(Decimal::parse(given), Err(DecimalError::NotANumber), "{given}");
    }
    let long = format!("1{}", "0".repeat(1_000_000));
    assert_eq!(Decimal::parse(&long), Err(DecimalError::TooLarge));
    assert_eq!(Decimal::parse(&format!("{long}e-1000000")), Ok(Decimal::ONE));
    assert_eq!(Decimal::parse(&format!("0.{}1e1000001", "0".repeat(1_000_000))), Ok(Decimal::ONE));
}

#[test]
fn sums_are_exact_and_stop_at_thirty_eight_digits() {
    assert_eq!(dec("0.1").checked_add(dec("0.2")), Some(dec("0.3")));
    assert_eq!(dec("1").checked_sub(dec("1.000000000000000001")), Some(dec("-0.000000000000000001")));
    assert_eq!(Decimal::MAX.checked_add(Decimal(1)), None);
    assert_eq!(Decimal::MAX.checked_add(Decimal::MAX), None);
    assert_eq!(Decimal::MIN.checked_sub(Decimal::MAX), None);
    assert_eq!(Decimal::MAX.checked_add(Decimal::MIN), Some(Decimal::ZERO));
    assert_eq!(Decimal::from_i64(i64::MIN).to_i64(), Some(i64::MIN));
    assert_eq!(Decimal::from_u64(u64::MAX).to_string(), u64::MAX.to_string());
    assert_eq!(Decimal::from_u64(u64::MAX).to_i64(), None);
    assert_eq!(dec("1.5").to_i64(), None);
}

#[test]
fn averages_are_rounded_once_half_away_from_zero() {
    assert_eq!(dec("10").div_u64(4, 0), Some(dec("3")));
    assert_eq!(dec("-10").div_u64(4, 0), Some(dec("-3")));
    assert_eq!(dec("10").div_u64(3, 2), Some(dec("3.33")));
    // Rounded to two digits and then to one, it would be 0.4.
    assert_eq!(dec("1.046").div_u64(3, 1), Some(dec("0.3")));
    assert_eq!(dec("2").div_u64(3, 99), Some(dec("0.666666666666666667")));
    assert_eq!(dec("1").div_u64(0, 2), None);
    assert_eq!(dec("2.675").round(2), Some(dec("2.68")));
    assert_eq!(dec("-2.5").round(0), Some(dec("-3")));
    assert_eq!(dec("2.4").round(0), Some(dec("2")));
    assert_eq!(Decimal::MAX.round(0), None);
    assert_eq!(Decimal::MAX.round(18), Some(Decimal::MAX));
    assert_eq!(Decimal::MIN.div_u64(u64::MAX, 18).unwrap().to_string(), "-5.42101086242752217");
}

#[test]
fn products_and_quotients_round_at_the_eighteenth_digit() {
    assert_eq!(dec("1.5").checked_mul(dec("-2")), Some(dec("-3")));
    assert_eq!(dec("1e-9").checked_mul(dec("5e-10")), Some(dec("1e-18")));
    assert_eq!(dec("-1e-9").checked_mul(dec("4e-10")), Some(dec("0")));
    assert_eq!(dec("10000000000").checked_mul(dec("10000000000")), None);
    assert_eq!(dec("1").checked_div(dec("3")), Some(dec("0.333333333333333333")));
    assert_eq!(dec("-2").checked_div(dec("3")), Some(dec("-0.666666666666666667")));
    assert_eq!(dec("1").checked_div(dec("0")), None);
    assert_eq!(Decimal::MAX.checked_div(dec("0.1")), None);
    assert_eq!(Decimal::MAX.checked_div(Decimal(1)), None);
    assert_eq!(Decimal::MAX.checked_mul(Decimal::MIN), None);
}

#[test]
fn floats_come_in_by_their_shortest_text_and_leave_to_the_nearest() {
    assert_eq!(Decimal::from_f64(0.1), Ok(dec("0.1")));
    assert_eq!(Decimal::from_f64(-0.0), Ok(Decimal::ZERO));
    assert_eq!(Decimal::from_f64(1e19), Ok(dec("1e19")));
    assert_eq!(Decimal::from_f64(5e-324), Ok(Decimal::ZERO));
    assert_eq!(Decimal::from_f64(-1.7976931348623157e308), Err(DecimalError::TooLarge));
    for given in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Decimal::from_f64(given), Err(DecimalError::NotANumber));
    }
    assert_eq!(dec("0.3").to_f64(), 0.3);
    assert_eq!(Decimal::MIN.to_f64(), -1e20);
}

#[test]
fn it_is_kept_as_its_scaled_integer() {
    assert_eq!(serde_json::to_string(&dec("1.5")).unwrap(), "1500000000000000000");
    assert_eq!(serde_json::from_str::<Decimal>("-1").unwrap(), Decimal(-1));
    let too_large = LIMIT.to_string();
    assert!(serde_json::from_str::<Decimal>(&too_large).is_err());
}

/// Decimal digits, the lowest first, without a limit: slow, and too simple to be wrong.
#[derive(Clone, PartialEq, Eq)]
struct Big(Vec<u8>);

impl Big {
    fn of(n: u128) -> Big {
        Big::parse(&n.to_string())
    }

    fn parse(text: &str) -> Big {
        Big(text.bytes().rev().map(|b| b - b'0').collect()).trimmed()
    }

    fn trimmed(mut self) -> Big {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn plus(&self, other: &Big) -> Big {
        let (mut digits, mut carry) = (Vec::new(), 0);
        for i in 0..self.0.len().max(other.0.len()) + 1 {
            let n = self.0.get(i).unwrap_or(&0) + other.0.get(i).unwrap_or(&0) + carry;
            digits.push(n % 10);
            carry = n / 10;
        }
        Big(digits).trimmed()
    }

    fn times(&self, other: &Big) -> Big {
        let mut sum = Big(vec![]);
        for (i, digit) in self.0.iter().enumerate() {
            let shifted = Big([vec![0; i], other.0.clone()].concat());
            (0..*digit).for_each(|_| sum = sum.plus(&shifted));
        }
        sum.trimmed()
    }

    fn compare(&self, other: &Big) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

/// Whether `found` is `dividend / divisor`, rounded half away from zero; `None` for more than 38 digits.
fn is_quotient(found: Option<Decimal>, dividend: &Big, divisor: &Big) -> bool {
    let two = Big::of(2);
    let shifted = dividend.times(&two).plus(divisor);
    let reaches = |q: u128| Big::of(q).times(&two).times(divisor).compare(&shifted).is_le();
    match found {
        Some(d) => reaches(d.0.unsigned_abs()) && !reaches(d.0.unsigned_abs() + 1),
        None => reaches(LIMIT),
    }
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Of every size, and often at a power of ten, where digits are won and lost.
    fn decimal(&mut self) -> Decimal {
        let raw = ((self.next() as u128) << 64) | self.next() as u128;
        let magnitude = match self.below(3) {
            0 => 10u128.pow(self.below(39) as u32).saturating_sub(self.below(2) as u128),
            1 => 5 * 10u128.pow(self.below(37) as u32),
            _ => raw >> (self.below(128) as u32),
        } % LIMIT;
        let sign = if self.below(2) == 0 { 1 } else { -1 };
        Decimal::from_scaled(sign * magnitude as i128).unwrap()
    }
}

#[test]
fn arithmetic_agrees_with_digits_on_paper() {
    let mut random = Random(1);
    let scale = Big::of(ONE as u128);
    for _ in 0..4_000 {
        let (a, b) = (random.decimal(), random.decimal());
        let (big_a, big_b) = (Big::of(a.0.unsigned_abs()), Big::of(b.0.unsigned_abs()));
        let negative = (a.0 < 0) != (b.0 < 0);
        let product = a.checked_mul(b);
        assert!(is_quotient(product, &big_a.times(&big_b), &scale), "{a} * {b}");
        assert!(product.is_none_or(|p| p.is_zero() || (p.0 < 0) == negative), "{a} * {b}");
        if !b.is_zero() {
            let quotient = a.checked_div(b);
            assert!(is_quotient(quotient, &big_a.times(&scale), &big_b), "{a} / {b}");
            assert!(quotient.is_none_or(|q| q.is_zero() || (q.0 < 0) == negative), "{a} / {b}");
        }
        if !negative {
            let sum = big_a.plus(&big_b);
            let found = a.checked_add(b).map(|s| Big::of(s.0.unsigned_abs()));
            assert!(found.as_ref().map_or(sum.compare(&Big::of(LIMIT)).is_ge(), |f| *f == sum), "{a} + {b}");
            assert!(a.checked_add(b).is_none_or(|s| s.checked_sub(b) == Some(a)), "{a} + {b} - {b}");
        }
        let (n, digits) = ((random.next() >> random.below(64)).max(1), random.below(19) as u32);
        let unit = 10i128.pow(SCALE - digits);
        let mean = a.div_u64(n, digits);
        assert!(mean.is_none_or(|m| m.0 % unit == 0), "{a} / {n} to {digits}");
        let in_units = mean.map(|m| Decimal(m.0 / unit));
        let divisor = Big::of(n as u128).times(&Big::of(unit as u128));
        assert!(mean.is_none() || is_quotient(in_units, &big_a, &divisor), "{a} / {n} to {digits}");
    }
}

/// Moves the point in the text, cuts, and adds one where the first digit that goes is 5 or more.
fn on_paper(whole: &str, part: &str, exponent: i64) -> Big {
    let digits = format!("{}{whole}{part}{}", "0".repeat(100), "0".repeat(100));
    let point = (100 + whole.len() as i64 + exponent + SCALE as i64) as usize;
    let up = (digits.as_bytes()[point] >= b'5') as u128;
    Big::parse(&digits[..point]).plus(&Big::of(up))
}

#[test]
fn every_text_is_read_as_on_paper() {
    let mut random = Random(2);
    for _ in 0..20_000 {
        let mut some = |most: u64| -> String {
            let n = random.below(most + 1);
            (0..n).map(|_| char::from(b'0' + [0, 9, 5, 4, random.below(10) as u8][random.below(5) as usize])).collect()
        };
        let (whole, part) = (some(30), some(45));
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let exponent = [0, random.below(41) as i64 - 20][random.below(2) as usize];
        let mut text = if part.is_empty() { whole.to_string() } else { format!("{whole}.{part}") };
        if exponent != 0 || random.below(4) == 0 {
            text = format!("{text}{}{exponent}", ["e", "E"][random.below(2) as usize]);
        }
        let then = on_paper(whole, &part, exponent);
        for (sign, text) in [(1, text.clone()), (-1, format!("-{text}"))] {
            match Decimal::parse(&text) {
                Ok(d) => {
                    assert!(Big::of(d.0.unsigned_abs()) == then && d.0 * sign >= 0, "{text}: {d}");
                    assert_eq!(Decimal::parse_exact(&d.to_string()), Ok(Some(d)), "{text}");
                    assert_eq!(d.to_f64(), d.to_string().parse::<f64>().unwrap(), "{text}");
                }
                Err(e) => {
                    assert_eq!(e, DecimalError::TooLarge, "{text}");
                    assert!(then.compare(&Big::of(LIMIT)).is_ge(), "{text}");
                }
            }
        }
    }
}

#[test]
fn every_float_is_read_as_its_shortest_text() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let x = f64::from_bits(random.next());
        let near = (random.next() as i64 >> random.below(64)) as f64 / 10f64.powi(random.below(12) as i32);
        for x in [x, near] {
            match x.is_finite() {
                true => assert_eq!(Decimal::from_f64(x), Decimal::parse(&x.to_string()), "{x}"),
                false => assert_eq!(Decimal::from_f64(x), Err(DecimalError::NotANumber)),
            }
        }
    }
}

#[test]
fn order_and_hash_are_the_numbers_own() {
    let mut sorted = ["-1e19", "-0.1", "0", "1e-18", "0.10", "9", "10", "1e19"].map(dec);
    let then = sorted;
    sorted.reverse();
    sorted.sort();
    assert_eq!(sorted, then);
    assert_eq!(dec("1.0"), dec("10e-1"));
}
