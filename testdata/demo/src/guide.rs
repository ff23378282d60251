//! The server's side: an implementation of the generated trait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ttrpc_runtime::{Context, Result, Status, Streaming};

use crate::{Feature, Point, Rectangle, RouteGuide, RouteNote, RouteSummary, point};

/// The places on the map: latitude, longitude, name.
const PLACES: [(i32, i32, &str); 5] = [
    (525_162_700, 133_777_000, "Brandenburg Gate"),
    (525_186_200, 133_761_900, "Reichstag"),
    (525_208_200, 134_094_200, "Television Tower"),
    (525_169_400, 134_019_100, "Museum Island"),
    (524_731_000, 134_033_100, "Tempelhofer Feld"),
];

type Notes = HashMap<(i32, i32), Vec<RouteNote>>;

/// Knows a few places in Berlin, and keeps the notes that travellers leave there.
#[derive(Debug, Default)]
pub struct Guide {
    notes: Arc<Mutex<Notes>>,
}

fn features() -> impl Iterator<Item = Feature> {
    PLACES.iter().map(|&(latitude, longitude, name)| Feature {
        name: name.to_owned(),
        location: Some(point(latitude, longitude)).into(),
        ..Feature::default()
    })
}

impl RouteGuide for Guide {
    async fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
        features()
            .find(|feature| *feature.location == request)
            .ok_or_else(|| {
                let Point {
                    latitude,
                    longitude,
                    ..
                } = request;
                Status::not_found(format!("there is nothing at {latitude}, {longitude}")).into()
            })
    }

    async fn list_features(&self, _: &Context, area: Rectangle) -> Result<Streaming<Feature>> {
        if area.lo.is_none() || area.hi.is_none() {
            return Err(Status::invalid_argument("a rectangle has two corners, lo and hi").into());
        }
        let within = |at: &Point| {
            (area.lo.latitude..=area.hi.latitude).contains(&at.latitude)
                && (area.lo.longitude..=area.hi.longitude).contains(&at.longitude)
        };
        let found: Vec<_> = features().filter(|f| within(&f.location)).collect();
        Ok(Streaming::from_iter(found))
    }

    async fn record_route(
        &self,
        _: &Context,
        mut points: Streaming<Point>,
    ) -> Result<RouteSummary> {
        let mut summary = RouteSummary::default();
        let mut metres = 0.0;
        let mut last: Option<Point> = None;
        while let Some(point) = points.message().await? {
            summary.point_count += 1;
            summary.feature_count += features().any(|f| *f.location == point) as i32;
            metres += last.map_or(0.0, |last| distance(&last, &point));
            last = Some(point);
        }
        summary.distance = metres as i32;
        Ok(summary)
    }

    async fn route_chat(
        &self,
        _: &Context,
        mut notes: Streaming<RouteNote>,
    ) -> Result<Streaming<RouteNote>> {
        let left = Arc::clone(&self.notes);
        Ok(Streaming::produce(async move |replies| {
            while let Some(note) = notes.message().await? {
                let place = (note.location.latitude, note.location.longitude);
                let earlier = {
                    let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                    let here = left.entry(place).or_default();
                    let earlier = here.clone();
                    here.push(note);
                    earlier
                };
                for note in earlier {
                    replies.send(note).await?;
                }
            }
            Ok(())
        }))
    }
}

/// Metres between two points, on a sphere.
fn distance(from: &Point, to: &Point) -> f64 {
    const EARTH_RADIUS: f64 = 6_371_000.0;
    let radians = |e7: i32| (f64::from(e7) / 1e7).to_radians();
    let (from_latitude, to_latitude) = (radians(from.latitude), radians(to.latitude));
    let half = |a: f64, b: f64| ((b - a) / 2.0).sin().powi(2);
    let a = half(from_latitude, to_latitude)
        + from_latitude.cos()
            * to_latitude.cos()
            * half(radians(from.longitude), radians(to.longitude));
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}
