//! What is told of a tour.

use ttrpc_runtime::Result;

use crate::{Feature, Point, Rectangle, RouteNote, RouteSummary, point};

/// The notes that are left, and how many were there before each.
pub(crate) const MESSAGES: [(&str, usize); 2] = [("Nice columns.", 0), ("Who took the horses?", 1)];

/// Tells a tour line by line.
pub(crate) struct Tell<F>(pub(crate) F);

impl<F: FnMut(&str)> Tell<F> {
    fn line(&mut self, line: impl AsRef<str>) {
        (self.0)(line.as_ref());
    }

    pub(crate) fn asks(&mut self) -> [Point; 2] {
        self.line("unary: GetFeature");
        self.line("  -> what is at the gate, and what at 0, 0?");
        [gate(), point(0, 0)]
    }

    pub(crate) fn hears(&mut self, feature: Result<Feature>) {
        match feature {
            Ok(feature) => self.line(format!("  <- {}", feature.name)),
            Err(error) => self.line(format!("  <- {error}")),
        }
    }

    pub(crate) fn asks_for_area(&mut self) -> Rectangle {
        let (lo, hi) = (
            point(525_000_000, 133_700_000),
            point(525_300_000, 134_100_000),
        );
        self.line("server streaming: ListFeatures");
        self.line(format!("  -> all from {} to {}", show(&lo), show(&hi)));
        Rectangle {
            lo: Some(lo).into(),
            hi: Some(hi).into(),
            ..Rectangle::default()
        }
    }

    pub(crate) fn sees(&mut self, feature: &Feature) {
        self.line(format!(
            "  <- {} at {}",
            feature.name,
            show(&feature.location)
        ));
    }

    pub(crate) fn passes(&mut self) -> [Point; 3] {
        let route = [
            gate(),
            point(525_169_400, 134_019_100),
            point(525_208_200, 134_094_200),
        ];
        self.line("client streaming: RecordRoute");
        for point in &route {
            self.line(format!("  -> passing {}", show(point)));
        }
        route
    }

    pub(crate) fn has_passed(&mut self, summary: &RouteSummary) {
        self.line(format!(
            "  <- {} points, {} features, {} m",
            summary.point_count, summary.feature_count, summary.distance
        ));
    }

    pub(crate) fn chats(&mut self) {
        self.line("bidirectional streaming: RouteChat");
    }

    pub(crate) fn leaves(&mut self, message: &str) -> RouteNote {
        self.line(format!("  -> at {}: {message}", show(&gate())));
        RouteNote {
            location: Some(gate()).into(),
            message: message.to_owned(),
            ..RouteNote::default()
        }
    }

    pub(crate) fn reads(&mut self, note: Option<RouteNote>) {
        match note {
            Some(note) => self.line(format!("  <- somebody was here before: {}", note.message)),
            None => self.line("  <- that was all"),
        }
    }
}

fn gate() -> Point {
    point(525_162_700, 133_777_000)
}

fn show(point: &Point) -> String {
    let degrees = |e7: i32| f64::from(e7) / 1e7;
    let Point {
        latitude,
        longitude,
        ..
    } = point;
    format!("{:.4}, {:.4}", degrees(*latitude), degrees(*longitude))
}
