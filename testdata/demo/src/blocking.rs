//! The blocking flavour: the same service, and the same tour.

use std::time::Duration;

use ttrpc_runtime::blocking::Streaming;
use ttrpc_runtime::{Context, Result};

pub use crate::protos::route_guide_ttrpc::blocking::{
    RouteGuide, RouteGuideClient, RouteGuideServer,
};

use crate::guide::{Guide, Route};
use crate::story::{self, Tell};
use crate::{Feature, Point, Rectangle, RouteNote, RouteSummary};

impl RouteGuide for Guide {
    fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
        self.find(&request)
    }

    fn list_features(&self, _: &Context, area: Rectangle) -> Result<Streaming<Feature>> {
        Ok(Streaming::from_iter(self.within(&area)?))
    }

    fn record_route(&self, _: &Context, points: Streaming<Point>) -> Result<RouteSummary> {
        let mut route = Route::default();
        for point in points {
            route.pass(point?);
        }
        Ok(route.summary())
    }

    fn route_chat(&self, _: &Context, notes: Streaming<RouteNote>) -> Result<Streaming<RouteNote>> {
        let guide = self.clone();
        Ok(Streaming::produce(move |replies| {
            for note in notes {
                for earlier in guide.leave(note?) {
                    replies.send(earlier)?;
                }
            }
            Ok(())
        }))
    }
}

/// Calls each method of a guide, which may be a client or the service itself, and tells
/// of it line by line.
///
/// # Errors
/// A call failed that should not have.
pub fn tour(guide: &impl RouteGuide, tell: impl FnMut(&str)) -> Result<()> {
    let ctx = Context::new().with_timeout(Duration::from_secs(10));
    let mut tell = Tell(tell);

    for place in tell.asks() {
        tell.hears(guide.get_feature(&ctx, place));
    }

    let area = tell.asks_for_area();
    for feature in guide.list_features(&ctx, area)? {
        tell.sees(&feature?);
    }

    let route = tell.passes();
    let summary = guide.record_route(&ctx, Streaming::from_iter(route))?;
    tell.has_passed(&summary);

    let (notes, requests) = Streaming::channel(4);
    let mut replies = guide.route_chat(&ctx, requests)?;
    tell.chats();
    for (message, earlier) in story::MESSAGES {
        notes.send(tell.leaves(message))?;
        for _ in 0..earlier {
            tell.reads(replies.message()?);
        }
    }
    drop(notes);
    tell.reads(replies.message()?);
    Ok(())
}
