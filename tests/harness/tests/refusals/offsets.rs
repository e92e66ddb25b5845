//! The group's offsets, moved or deleted by hand.
//! Invariant: state and offsets go together, or nothing runs.

use super::app::App;
use super::world::World;

pub fn moved_then_deleted(world: &World) {
    let app = App::ready(world, "moved", 20);
    app.edit(&[("SESSION", "1500")]);
    app.run_through();
    let stood = world.committed_offset(&app.name, &app.input, 0);
    world.move_offset(&app.name, &app.input, 0, 3);
    let stands = format!("its state stands for offset {stood} of the input, the group has committed 3");
    assert_eq!(app.refused(1, &["task events/moved-input/0", &stands, "put one of them back"]).causes.len(), 1);
    assert_eq!(world.committed_offset(&app.name, &app.input, 0), 3);
    world.move_offset(&app.name, &app.input, 0, stood);
    app.feed(20);
    app.run_through();

    world.delete_group(&app.name);
    app.feed(20);
    let why = App::why(&app.run_through());
    assert!(why.values().all(|why| why == "restored"), "{why:?}");
}
