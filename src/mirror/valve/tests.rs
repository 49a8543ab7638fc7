//! The valve by itself, and in front of a model of a server that others use too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn limits(ceiling: usize) -> Limits {
    Limits::new(ceiling, None)
}

fn go(valve: &mut Valve, now: Instant) -> Ticket {
    match valve.admit(now) {
        Admission::Go(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn shed(valve: &mut Valve, now: Instant) -> &'static str {
    match valve.admit(now) {
        Admission::Shed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Queries one after the other, each answered after 10 ms.
fn answers(valve: &mut Valve, now: &mut Instant, count: usize) {
    for _ in 0..count {
        let ticket = go(valve, *now);
        *now += 10 * MS;
        valve.answered(ticket, "q", *now);
    }
}

#[test]
fn good_answers_open_it_up_to_the_ceiling() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(4), now);
    let first = go(&mut valve, now);
    assert!(matches!(valve.admit(now), Admission::Wait));
    valve.dropped(first);
    answers(&mut valve, &mut now, 100);
    let _under_way: Vec<Ticket> = (0..4).map(|_| go(&mut valve, now)).collect();
    assert!(matches!(valve.admit(now), Admission::Wait));
}

#[test]
fn trouble_closes_it_and_one_query_goes_first_again() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(8), now);
    answers(&mut valve, &mut now, 100);
    let mut under_way: Vec<Ticket> = (0..8).map(|_| go(&mut valve, now)).collect();
    // All eight meet the same trouble: one pause.
    for ticket in under_way.drain(..) {
        valve.troubled(ticket, None, now);
    }
    assert_eq!(shed(&mut valve, now + 499 * MS), BACKING_OFF);
    now += 500 * MS;
    let probe = go(&mut valve, now);
    assert_eq!(shed(&mut valve, now), BACKING_OFF);
    valve.answered(probe, "q", now + 10 * MS);
    let _one = go(&mut valve, now + 10 * MS);
    let _two = go(&mut valve, now + 10 * MS);
}

#[test]
fn fast_failures_open_nothing_and_a_row_of_them_closes_it() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(8), now);
    answers(&mut valve, &mut now, 5);
    let (open, mut asked) = (valve.limit(), 0);
    let until = now + Duration::from_secs(60);
    while now < until {
        now += MS;
        if let Admission::Go(ticket) = valve.admit(now) {
            asked += 1;
            valve.failed(ticket, now + MS);
        }
        assert!(valve.limit() <= open);
    }
    // Eight, and then one behind each pause of 0.5, 1, 2, 4, 8, 16, 30 seconds.
    assert_eq!(asked, 8 + 6);
    now = valve.closed_until;
    answers(&mut valve, &mut now, 1);
    let again = go(&mut valve, now);
    valve.failed(again, now + MS);
    go(&mut valve, now + MS);
}

#[test]
fn failures_among_good_answers_are_about_their_queries() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(8), now);
    for _ in 0..50 {
        for _ in 0..IN_A_ROW - 1 {
            let ticket = go(&mut valve, now);
            now += MS;
            valve.failed(ticket, now);
        }
        answers(&mut valve, &mut now, 1);
    }
    assert_eq!((valve.closed_for(now), valve.limit()), (Duration::ZERO, 8.0));
}

#[test]
fn what_is_declined_opens_nothing_and_closes_nothing() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(8), now);
    for _ in 0..1_000 {
        let ticket = go(&mut valve, now);
        now += MS;
        valve.declined(ticket, now);
    }
    assert_eq!((valve.closed_for(now), valve.limit()), (Duration::ZERO, 1.0));
}

#[test]
fn pauses_double_up_to_the_longest_and_are_forgotten_slowly() {
    let mut now = Instant::now();
    let mut valve = Valve::new(limits(8), now);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let probe = go(&mut valve, now);
        valve.troubled(probe, None, now);
        pauses.push((valve.closed_until - now).as_millis());
        now = valve.closed_until;
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    answers(&mut valve, &mut now, 9);
    let probe = go(&mut valve, now);
    valve.troubled(probe, None, now);
    let pause = valve.closed_until - now;
    assert!((10_000 * MS..15_000 * MS).contains(&pause), "{pause:?}");
}

#[test]
fn a_server_is_left_alone_for_as_long_as_it_asks_within_reason() {
    for (asked, pause) in [(2, 2), (60, 60), (1 << 40, 600)] {
        let now = Instant::now();
        let mut valve = Valve::new(limits(8), now);
        let ticket = go(&mut valve, now);
        valve.troubled(ticket, Some(Duration::from_secs(asked)), now);
        assert_eq!(shed(&mut valve, now + Duration::from_secs(pause) - MS), BACKING_OFF);
        go(&mut valve, now + Duration::from_secs(pause));
    }
}

#[test]
fn the_rate_is_shed_and_not_queued() {
    let now = Instant::now();
    let mut valve = Valve::new(Limits::new(100, Some(2.0)), now);
    for _ in 0..2 {
        let ticket = go(&mut valve, now);
        valve.answered(ticket, "q", now);
    }
    assert_eq!(shed(&mut valve, now), RATE);
    go(&mut valve, now + 500 * MS);
}

proptest! {
    /// Whatever answers come, never more queries are under way than the ceiling, none while it is closed, and it
    /// opens again.
    #[test]
    fn no_answers_open_it_too_far_or_close_it_for_ever(
        ceiling in 1..20_usize,
        steps in prop::collection::vec((0..6_u8, 0..2_000_u64, 0..20_usize), 1..200),
    ) {
        let mut now = Instant::now();
        let mut valve = Valve::new(limits(ceiling), now);
        let mut under_way = Vec::new();
        for (what, millis, which) in steps {
            now += Duration::from_millis(millis);
            match what {
                0 | 1 => {
                    let closed = now < valve.closed_until;
                    if let Admission::Go(ticket) = valve.admit(now) {
                        prop_assert!(!closed);
                        under_way.push(ticket);
                    }
                }
                _ if under_way.is_empty() => {}
                2 => {
                    let ticket = under_way.swap_remove(which % under_way.len());
                    valve.answered(ticket, "q", now);
                }
                3 => {
                    let ticket = under_way.swap_remove(which % under_way.len());
                    valve.failed(ticket, now);
                }
                4 => {
                    let ticket = under_way.swap_remove(which % under_way.len());
                    valve.declined(ticket, now);
                }
                _ => {
                    let ticket = under_way.swap_remove(which % under_way.len());
                    valve.troubled(ticket, None, now);
                }
            }
            prop_assert!(under_way.len() <= ceiling);
        }
        for ticket in under_way.drain(..) {
            valve.answered(ticket, "q", now);
        }
        now += valve.limits.longest_pause;
        prop_assert!(matches!(valve.admit(now), Admission::Go(_)));
    }
}

/// A server that serves so many at once; what is beyond waits in its queue, and after a while is refused.
struct Server {
    at_once: usize,
    /// What one query takes, when it is served.
    takes: Duration,
    busy: BinaryHeap<Reverse<(Instant, usize)>>,
    queue: std::collections::VecDeque<usize>,
}

/// What came of a stretch of time in which production asks, and a mirror beside it.
#[derive(Debug, Default)]
struct Seen {
    /// Latencies of production's queries.
    production: Vec<Duration>,
    mirrored: usize,
    offered: usize,
}

impl Seen {
    fn p99(&mut self) -> Duration {
        self.production.sort();
        self.production[self.production.len() * 99 / 100]
    }
}

/// The model: every `every`, production asks one query, which is logged and mirrored through the valve.
struct World {
    server: Server,
    valve: Option<Valve>,
    now: Instant,
    asked: Vec<(Instant, Option<Ticket>)>,
    deadline: Duration,
}

impl World {
    fn new(valve: Option<Limits>) -> Self {
        let now = Instant::now();
        let server = Server {
            at_once: 10,
            takes: 10 * MS,
            busy: BinaryHeap::new(),
            queue: std::collections::VecDeque::default(),
        };
        let valve = valve.map(|limits| Valve::new(limits, now));
        Self { server, valve, now, asked: Vec::new(), deadline: Duration::from_secs(5) }
    }

    fn ask(&mut self, ticket: Option<Ticket>) {
        self.asked.push((self.now, ticket));
        self.server.queue.push_back(self.asked.len() - 1);
        self.serve();
    }

    fn serve(&mut self) {
        while self.server.busy.len() < self.server.at_once
            && let Some(query) = self.server.queue.pop_front()
        {
            self.server.busy.push(Reverse((self.now + self.server.takes, query)));
        }
    }

    /// Everything that the server finishes up to a time.
    fn until(&mut self, end: Instant, seen: &mut Seen) {
        while let Some(Reverse((at, query))) = self.server.busy.peek().copied()
            && at <= end
        {
            self.server.busy.pop();
            self.now = at;
            let (sent, ticket) = (self.asked[query].0, self.asked[query].1.take());
            match (ticket, &mut self.valve) {
                (Some(ticket), Some(valve)) if at - sent > self.deadline => valve.troubled(ticket, None, at),
                (Some(ticket), Some(valve)) => valve.answered(ticket, "q", at),
                _ => seen.production.push(at - sent),
            }
            self.serve();
        }
        self.now = end;
    }

    fn run(&mut self, queries: usize, every: Duration) -> Seen {
        let mut seen = Seen::default();
        for _ in 0..queries {
            self.ask(None);
            seen.offered += 1;
            if let Some(valve) = &mut self.valve
                && let Admission::Go(ticket) = valve.admit(self.now)
            {
                seen.mirrored += 1;
                self.ask(Some(ticket));
            }
            self.until(self.now + every, &mut seen);
        }
        seen
    }
}

#[test]
fn a_server_with_room_gets_every_query_again() {
    let mut world = World::new(Some(limits(32)));
    world.run(1_000, 4 * MS);
    let mut seen = world.run(10_000, 4 * MS);
    assert!(seen.mirrored * 100 > seen.offered * 99, "{} of {}", seen.mirrored, seen.offered);
    assert_eq!(seen.p99(), 10 * MS);
}

#[test]
fn a_server_that_slows_down_under_load_is_left_alone_and_found_again() {
    let every = 2 * MS;
    let alone = |takes: Duration| {
        let mut world = World::new(None);
        world.server.takes = takes;
        world.run(20_000, every).p99()
    };
    let mut world = World::new(Some(limits(64)));
    world.run(2_000, every);

    // Half a server's worth from production, and as much again from the mirror: it just fits.
    let mut seen = world.run(20_000, every);
    assert!(seen.mirrored * 10 > seen.offered * 8, "{} of {}", seen.mirrored, seen.offered);
    assert!(seen.p99() <= 2 * alone(10 * MS), "{:?}", seen.p99());

    // Everything takes twice as long: what production asks fits by a hair, and nothing else does.
    world.server.takes = 19 * MS;
    world.run(2_000, every);
    let mut seen = world.run(20_000, every);
    assert!(seen.mirrored * 10 < seen.offered, "{} of {}", seen.mirrored, seen.offered);
    assert!(seen.p99() <= 2 * alone(19 * MS), "{:?} beside {:?}", seen.p99(), alone(19 * MS));

    // And back.
    world.server.takes = 10 * MS;
    world.run(2_000, every);
    let seen = world.run(20_000, every);
    assert!(seen.mirrored * 10 > seen.offered * 8, "{} of {}", seen.mirrored, seen.offered);
}

#[test]
fn without_a_valve_the_same_load_drowns_that_server() {
    // What the test above would see of a mirror that asks whatever comes: the model is able to show harm.
    let mut world = World::new(Some(limits(64)));
    world.server.takes = 19 * MS;
    let mut seen = Seen::default();
    for _ in 0..5_000 {
        world.ask(None);
        world.ask(None);
        world.until(world.now + 2 * MS, &mut seen);
    }
    assert!(seen.p99() > Duration::from_secs(1), "{:?}", seen.p99());
}

#[test]
fn a_server_that_is_ten_times_as_slow_by_itself_is_hardly_asked() {
    let mut world = World::new(Some(limits(64)));
    let before = world.run(5_000, 4 * MS);
    // Not from load: production asks little now.
    world.server.takes = 100 * MS;
    world.run(500, 40 * MS);
    let seen = world.run(1_000, 40 * MS);
    assert!(before.mirrored * 10 > before.offered * 9);
    assert!(seen.mirrored * 10 < seen.offered, "{} of {}", seen.mirrored, seen.offered);
}
