//! Bodies of answers in bounded memory, however many come at the same time.
//!
//! Each may have a little at once. One that turns out to be larger waits for one of few places, in which an answer of
//! the largest size fits: whoever has a place needs nothing else, so each comes to its end. Until then its
//! server is not read from, and finds out that we are slow.

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::ends_within;

/// Memory for answers.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of the largest answer.
    most: usize,
    /// Bytes that each answer may have without a place.
    small: usize,
    places: Semaphore,
}

/// A whole body; its place is free once it is dropped.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) bytes: Bytes,
    _place: Option<SemaphorePermit<'a>>,
}

impl Room {
    /// For so many answers at once, of at most `most` bytes each and `all` together. One of the largest is always
    /// taken, and so is a page of each.
    pub(super) fn new(at_once: usize, most: usize, all: usize) -> Self {
        const LEAST: usize = 4 << 10;
        let (half, most) = (all / 2, most.max(1));
        let small = (half / at_once.max(1)).max(LEAST).min(most);
        Self { most, small, places: Semaphore::new((half / most).clamp(1, at_once.max(1))) }
    }

    /// The whole body of an answer; nothing where it is larger than any may be.
    pub(super) async fn whole(&self, mut response: Response) -> reqwest::Result<Option<Whole<'_>>> {
        let mut body = BytesMut::new();
        if ends_within(self.small, &mut response, &mut body).await? {
            return Ok(Some(Whole { bytes: body.freeze(), _place: None }));
        }
        // An error would mean that places are not given any more, and nobody ever says so.
        let place = self.places.acquire().await.ok();
        let whole = ends_within(self.most, &mut response, &mut body).await?;
        Ok(whole.then(|| Whole { bytes: body.freeze(), _place: place }))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::{Tls, Trust};

    const LARGE: usize = 4 << 20;

    /// Gets answers of so many bytes.
    async fn server() -> impl Fn(usize) -> futures::future::BoxFuture<'static, Response> {
        let answer = |path: axum::extract::Path<usize>| async move { "x".repeat(*path) };
        let app = Router::new().route("/{bytes}", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        let tls = Tls { trust: Trust::Host, authorities: None, identity: None }.client_config().expect("a set-up");
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build().expect("a client");
        move |bytes| {
            let request = http.get(format!("http://{address}/{bytes}"));
            Box::pin(async { request.send().await.expect("an answer") })
        }
    }

    #[tokio::test]
    async fn a_large_answer_waits_for_the_one_before_and_small_ones_for_nobody() {
        let answer = server().await;
        let room = Room::new(8, LARGE, LARGE);
        let first = room.whole(answer(LARGE).await).await.expect("read").expect("not too large");
        assert_eq!(first.bytes.len(), LARGE);
        let second = room.whole(answer(LARGE).await);
        tokio::pin!(second);
        for _ in 0..20 {
            let small = async { room.whole(answer(1_000).await).await };
            tokio::select! {
                biased;
                read = &mut second => panic!("there is no room for {:?}", read.map(|read| read.map(|read| read.bytes.len()))),
                small = small => assert_eq!(small.expect("read").expect("small").bytes.len(), 1_000),
            }
        }
        drop(first);
        assert_eq!(second.await.expect("read").expect("not too large").bytes.len(), LARGE);
    }

    #[tokio::test]
    async fn what_is_larger_than_any_may_be_is_not_read_and_gives_its_place_back() {
        let answer = server().await;
        let room = Room::new(8, 100_000, 100_000);
        for _ in 0..3 {
            assert!(room.whole(answer(100_001).await).await.expect("read").is_none());
        }
        assert!(room.whole(answer(100_000).await).await.expect("read").is_some());
    }

    #[test]
    fn room_is_divided() {
        let parts = |at_once, most, all| {
            let room = Room::new(at_once, most, all);
            (room.small, room.places.available_permits())
        };
        assert_eq!(parts(4, 64 << 20, 48 << 20), (6 << 20, 1));
        assert_eq!(parts(64, 1 << 20, 48 << 20), (384 << 10, 24));
        assert_eq!(parts(2, 1 << 20, 1 << 30), (1 << 20, 2));
        assert_eq!(parts(1_000, 1 << 20, 1 << 10), (4 << 10, 1));
    }
}
