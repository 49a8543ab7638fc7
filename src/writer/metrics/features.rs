//! The series of features: how often each was asked for, computed, found, written; its values and their age.

use bytestring::ByteString;
use hashbrown::HashMap;

use super::cells::{Cells, Shape, is_stored};
use super::context::{Context, kind};
use super::durations::durations;
use super::partials::Partials;
use crate::decode::Decoded;
use crate::result::arrow::Budget;
use crate::result::{Persistence, Source};
use crate::row::contribution::{Cache, Contribution, Form, Measure, Name, Namespace, Nullness, Series, Status, Tags};
use crate::sink::Refusal;
use crate::writer::skip;

/// What a feature takes while it is counted, and then as the series that most features have.
const OF_FEATURE: usize = size_of::<(ByteString, Cells)>() + 8 * size_of::<(Series, Measure)>();

/// The features of one result, each once, however many tables have it.
#[derive(Debug, Default)]
pub(super) struct Features {
    places: HashMap<ByteString, usize>,
    cells: Vec<(ByteString, Cells)>,
}

impl Features {
    /// The place of a feature.
    pub(super) fn place(&mut self, feature: &ByteString, budget: &mut Budget) -> Result<usize, Refusal> {
        if let Some(place) = self.places.get(feature) {
            return Ok(*place);
        }
        budget.take_rows(1, OF_FEATURE)?;
        self.places.insert(feature.clone(), self.cells.len());
        self.cells.push((feature.clone(), Cells::default()));
        Ok(self.cells.len() - 1)
    }

    /// What is counted of the feature at a place.
    pub(super) fn at(&mut self, place: usize) -> &mut Cells {
        &mut self.cells[place].1
    }

    /// Makes series of all that was counted.
    pub(super) fn series(
        self,
        context: &Context<'_>,
        persistence: Persistence,
        partials: &mut Partials,
        decoded: &mut Decoded<Contribution>,
    ) {
        for (feature, cells) in self.cells {
            if persistence.status_metrics {
                requests(&feature, &cells, context, partials);
            } else {
                decoded.skip(skip::METRICS_OFF, 1);
            }
            counts(&feature, &cells, context, partials);
            if persistence.online {
                writes(&feature, &cells, context, partials);
            }
            if persistence.verbose_metrics {
                distributions(&feature, cells, context, partials, decoded);
            } else {
                decoded.skip(skip::METRICS_OFF, 1);
            }
        }
    }
}

fn nullness(shape: Shape) -> Option<Nullness> {
    Some(if shape == Shape::Null { Nullness::IsNull } else { Nullness::NonNull })
}

fn requests(feature: &ByteString, cells: &Cells, context: &Context<'_>, partials: &mut Partials) {
    let failed = context.failed.contains(&**feature);
    for (source, shape, count) in cells.counts() {
        let tags = Tags {
            status: Some(if failed { Status::Failure } else { Status::Success }),
            cache: match source {
                Source::OnlineStore => Some(Cache::CacheHit),
                // No cache was asked for what the caller brought.
                Source::Given => None,
                _ => Some(Cache::CacheMiss),
            },
            null: nullness(shape),
            form: match shape {
                Shape::Null => None,
                Shape::One => Some(Form::Scalar),
                Shape::Many => Some(Form::HasMany),
            },
            ..Tags::default()
        };
        partials.count(context.series(Namespace::Feature, Name::Request, feature, tags), count.into());
    }
}

fn counts(feature: &ByteString, cells: &Cells, context: &Context<'_>, partials: &mut Partials) {
    for (source, shape, count) in cells.counts() {
        let tags = Tags { null: nullness(shape), ..Tags::default() };
        let found = match source {
            Source::Resolver | Source::Unknown => Some(Name::Computed),
            stored if is_stored(stored) => Some(Name::LookedUp),
            _ => None,
        };
        let asked_for = context.outputs.as_ref().map(|outputs| {
            // What was not asked for was needed on the way.
            if outputs.contains(&**feature) { Name::Used } else { Name::Referenced }
        });
        for name in found.into_iter().chain(asked_for) {
            partials.count(context.series(Namespace::Feature, name, feature, tags), count.into());
        }
    }
}

fn writes(feature: &ByteString, cells: &Cells, context: &Context<'_>, partials: &mut Partials) {
    for (resolver, of) in &cells.resolvers {
        let run = resolver.as_ref().and_then(|resolver| context.runs.get(&**resolver)?.first());
        let tags = Tags { kind: run.and_then(|run| kind(run.kind)), ..Tags::default() };
        partials.count(context.series(Namespace::Feature, Name::Write, feature, tags), of.written.into());
    }
}

fn distributions(
    feature: &ByteString,
    cells: Cells,
    context: &Context<'_>,
    partials: &mut Partials,
    decoded: &mut Decoded<Contribution>,
) {
    let series = |name| context.series(Namespace::Feature, name, feature, Tags::default());
    if cells.not_numbers > 0 {
        decoded.skip(skip::NOT_A_NUMBER, cells.not_numbers);
    }
    // Once for each run of a resolver that computed it, however many rows it computed.
    let computed = cells.resolvers.iter().filter(|(_, of)| of.computed);
    let runs = computed.filter_map(|(resolver, _)| context.runs.get(&**resolver.as_ref()?)).flatten();
    let latencies = durations(runs.map(|run| run.duration_seconds), decoded);
    let nulls = cells.nulls();
    partials.values(series(Name::FeatureValue), cells.values, nulls);
    partials.values(series(Name::Staleness), cells.staleness, 0);
    partials.values(series(Name::Latency), latencies, 0);
}
