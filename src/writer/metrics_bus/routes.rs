//! Where the rows of an environment go: each kind to one store or to both, as its mode says.

use std::sync::Arc;

use crate::config::settings::{MetricsModes, Sides};
use crate::row::table::{Shape, TableRows};
use crate::store::metrics::shapes::{self, Place};
use crate::writer::destinations::{Destinations, METRICS, METRICS_CLICKHOUSE, METRICS_VICTORIA, Stores};

/// The kinds of store that the modes ask for: the others are not even opened.
pub(super) fn kinds(modes: &MetricsModes) -> Vec<&'static Stores<TableRows>> {
    let all = [modes.queries, modes.errors, modes.metrics];
    let main = all.iter().any(|sides| sides.main());
    let clickhouse = modes.queries.other() || modes.errors.other();
    [(main, &METRICS), (clickhouse, &METRICS_CLICKHOUSE), (modes.metrics.other(), &METRICS_VICTORIA)]
        .into_iter()
        .filter_map(|(wanted, kind)| wanted.then_some(kind))
        .collect()
}

/// One place that a row goes to.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) destination: usize,
    pub(super) shape: Arc<Shape>,
}

/// Where the rows of an environment go; nowhere, where it has no such store.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) metrics: Vec<Route>,
    pub(super) queries: Vec<Route>,
    pub(super) query_errors: Vec<Route>,
    pub(super) resolver_errors: Vec<Route>,
}

impl Routes {
    /// Whether the environment has no store that anything goes to.
    pub(super) fn is_nowhere(&self) -> bool {
        [&self.metrics, &self.queries, &self.query_errors, &self.resolver_errors].iter().all(|routes| routes.is_empty())
    }

    pub(super) fn new(environment: &str, destinations: &Destinations<TableRows>, modes: &MetricsModes) -> Self {
        let to = |sides: Sides,
                  other: &Stores<TableRows>,
                  usual: &'static str,
                  name: Option<&String>,
                  shape: fn(&Place) -> _| {
            let main = sides.main().then_some((&METRICS, Place::usual(usual)));
            let place = || name.map_or_else(|| Place::usual(usual), |name| Place::named(name));
            let other = sides.other().then(|| (other, place()));
            let mut routes: Vec<Route> = Vec::new();
            for (kind, place) in main.into_iter().chain(other) {
                let Some(destination) = destinations.index_in(kind, environment) else { continue };
                let shape: Arc<Shape> = shape(&place);
                // One store in both roles takes a row once.
                if routes.iter().all(|route| route.destination != destination || route.shape != shape) {
                    routes.push(Route { destination, shape });
                }
            }
            routes
        };
        let clickhouse = &METRICS_CLICKHOUSE;
        let (query, resolver) = (modes.query_errors_table.as_ref(), modes.resolver_errors_table.as_ref());
        Self {
            metrics: to(modes.metrics, &METRICS_VICTORIA, shapes::METRICS, None, shapes::metrics),
            queries: to(modes.queries, clickhouse, shapes::QUERIES, modes.queries_table.as_ref(), shapes::queries),
            query_errors: to(modes.errors, clickhouse, shapes::QUERY_ERRORS, query, shapes::errors),
            resolver_errors: to(modes.errors, clickhouse, shapes::RESOLVER_ERRORS, resolver, shapes::errors),
        }
    }
}
