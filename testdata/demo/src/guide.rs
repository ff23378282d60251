//! What the guide knows, whichever flavour it is asked in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ttrpc_runtime::{Result, Status};

use crate::{Feature, Point, Rectangle, RouteNote, RouteSummary, point};

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
#[derive(Clone, Debug, Default)]
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

impl Guide {
    /// What is at a point.
    pub(crate) fn find(&self, at: &Point) -> Result<Feature> {
        features()
            .find(|feature| *feature.location == *at)
            .ok_or_else(|| {
                let Point {
                    latitude,
                    longitude,
                    ..
                } = at;
                Status::not_found(format!("there is nothing at {latitude}, {longitude}")).into()
            })
    }

    /// What is within an area.
    pub(crate) fn within(&self, area: &Rectangle) -> Result<Vec<Feature>> {
        if area.lo.is_none() || area.hi.is_none() {
            return Err(Status::invalid_argument("a rectangle has two corners, lo and hi").into());
        }
        let within = |at: &Point| {
            (area.lo.latitude..=area.hi.latitude).contains(&at.latitude)
                && (area.lo.longitude..=area.hi.longitude).contains(&at.longitude)
        };
        Ok(features().filter(|f| within(&f.location)).collect())
    }

    /// Leaves a note, and gives those that were there before.
    pub(crate) fn leave(&self, note: RouteNote) -> Vec<RouteNote> {
        let place = (note.location.latitude, note.location.longitude);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let here = notes.entry(place).or_default();
        let earlier = here.clone();
        here.push(note);
        earlier
    }
}

/// A route, as far as it is known.
#[derive(Default)]
pub(crate) struct Route {
    summary: RouteSummary,
    metres: f64,
    last: Option<Point>,
}

impl Route {
    pub(crate) fn pass(&mut self, point: Point) {
        self.summary.point_count += 1;
        self.summary.feature_count += features().any(|f| *f.location == point) as i32;
        self.metres += self
            .last
            .as_ref()
            .map_or(0.0, |last| distance(last, &point));
        self.last = Some(point);
    }

    pub(crate) fn summary(mut self) -> RouteSummary {
        self.summary.distance = self.metres as i32;
        self.summary
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
