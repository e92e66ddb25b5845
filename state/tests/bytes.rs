//! What a table says it holds, beside what it holds: every allocation of this program is counted. It must not know stores. The
//! invariant tested: the estimate is near enough that a budget made of such estimates is kept.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use tidemill_state::{Changes, Table, held::ALLOCATED};

/// Bytes that are allocated now, each allocation with its header and rounded up as glibc does.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn chunk(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

// SAFETY: the system's allocator does all of it; only sizes are counted beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(chunk(layout.size()), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(chunk(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many entries, each sealed and applied: the estimate, and what was allocated for them.
fn fill(entries: usize, key: impl Fn(usize) -> String, value: impl Fn(usize) -> Vec<u64>) -> (usize, usize) {
    let before = HELD.load(Relaxed);
    let outside = |value: &Vec<u64>| value.capacity() * 8 + ALLOCATED;
    let mut table: Table<Vec<u64>> = Table::new(1, 1).weighed(outside);
    for i in 0..entries {
        table.put(i as u64 % 3, key(i).as_bytes(), value(i));
        if i % 5000 == 4999 {
            // Not applied to a store: what a store holds is not the table's.
            table.seal(i as u64, &mut Changes::new());
            table.applied(i as u64);
        }
    }
    let held = HELD.load(Relaxed) - before;
    (table.bytes(), held)
}

/// One test, for the count is the program's.
#[test]
fn a_table_holds_about_what_it_says() {
    let short = |i: usize| format!("user-{i}");
    let long = |i: usize| format!("a customer's number of the longer kind: {i:060}");
    let cases: [(&str, (usize, usize)); 3] = [
        ("short keys", fill(100_000, short, |i| vec![i as u64])),
        ("short keys, large numbers of values", fill(100_000, short, |i| vec![i as u64 % 100; 30])),
        ("long keys", fill(100_000, long, |i| vec![i as u64])),
    ];
    for (name, (said, held)) in cases {
        println!("{name}: {said} bytes said, {held} held");
        assert!(held * 10 <= said * 11, "{name}: {held} bytes held, {said} said");
        assert!(said * 10 <= held * 13, "{name}: {said} bytes said, {held} held");
    }
}
