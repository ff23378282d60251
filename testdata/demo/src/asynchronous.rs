//! The asynchronous flavour: the guide as a service, and a tour that calls it.

use std::time::Duration;

use ttrpc_runtime::{Context, Result, Streaming};

use crate::guide::{Guide, Route};
use crate::story::{self, Tell};
use crate::{Feature, Point, Rectangle, RouteGuide, RouteNote, RouteSummary};

impl RouteGuide for Guide {
    async fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
        self.find(&request)
    }

    async fn list_features(&self, _: &Context, area: Rectangle) -> Result<Streaming<Feature>> {
        Ok(Streaming::from_iter(self.within(&area)?))
    }

    async fn record_route(
        &self,
        _: &Context,
        mut points: Streaming<Point>,
    ) -> Result<RouteSummary> {
        let mut route = Route::default();
        while let Some(point) = points.message().await? {
            route.pass(point);
        }
        Ok(route.summary())
    }

    async fn route_chat(
        &self,
        _: &Context,
        mut notes: Streaming<RouteNote>,
    ) -> Result<Streaming<RouteNote>> {
        let guide = self.clone();
        Ok(Streaming::produce(async move |replies| {
            while let Some(note) = notes.message().await? {
                for earlier in guide.leave(note) {
                    replies.send(earlier).await?;
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
pub async fn tour(guide: &impl RouteGuide, tell: impl FnMut(&str)) -> Result<()> {
    let ctx = Context::new().with_timeout(Duration::from_secs(10));
    let mut tell = Tell(tell);

    for place in tell.asks() {
        let feature = guide.get_feature(&ctx, place).await;
        tell.hears(feature);
    }

    let area = tell.asks_for_area();
    let mut features = guide.list_features(&ctx, area).await?;
    while let Some(feature) = features.message().await? {
        tell.sees(&feature);
    }

    let route = tell.passes();
    let summary = guide
        .record_route(&ctx, Streaming::from_iter(route))
        .await?;
    tell.has_passed(&summary);

    let (notes, requests) = Streaming::channel(4);
    let mut replies = guide.route_chat(&ctx, requests).await?;
    tell.chats();
    for (message, earlier) in story::MESSAGES {
        notes.send(tell.leaves(message)).await?;
        for _ in 0..earlier {
            tell.reads(replies.message().await?);
        }
    }
    drop(notes);
    tell.reads(replies.message().await?);
    Ok(())
}
