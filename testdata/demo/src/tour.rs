//! The client's side: one call of each kind, told as they happen.

use std::fmt::Write;
use std::time::Duration;

use ttrpc_runtime::{Context, Result, Streaming};

use crate::{Point, Rectangle, RouteGuide, RouteNote, point};

/// Calls each method of a guide, which may be a client or the service itself, and tells
/// of it line by line.
///
/// # Errors
/// A call failed that should not have.
pub async fn tour(guide: &impl RouteGuide, mut tell: impl FnMut(&str)) -> Result<()> {
    let ctx = Context::new().with_timeout(Duration::from_secs(10));
    let gate = point(525_162_700, 133_777_000);
    let tower = point(525_208_200, 134_094_200);

    tell("unary: GetFeature");
    tell(&format!("  -> what is at {}?", show(&gate)));
    let feature = guide.get_feature(&ctx, gate.clone()).await?;
    tell(&format!("  <- {}", feature.name));
    tell("  -> what is at 0.0000, 0.0000?");
    match guide.get_feature(&ctx, point(0, 0)).await {
        Ok(feature) => tell(&format!("  <- {}", feature.name)),
        Err(error) => tell(&format!("  <- {error}")),
    }

    tell("server streaming: ListFeatures");
    let area = Rectangle {
        lo: Some(point(525_000_000, 133_700_000)).into(),
        hi: Some(point(525_300_000, 134_100_000)).into(),
        ..Rectangle::default()
    };
    tell(&format!(
        "  -> all from {} to {}",
        show(&area.lo),
        show(&area.hi)
    ));
    let mut features = guide.list_features(&ctx, area).await?;
    while let Some(feature) = features.message().await? {
        tell(&format!(
            "  <- {} at {}",
            feature.name,
            show(&feature.location)
        ));
    }

    tell("client streaming: RecordRoute");
    let route = [gate.clone(), point(525_169_400, 134_019_100), tower];
    for point in &route {
        tell(&format!("  -> passing {}", show(point)));
    }
    let summary = guide
        .record_route(&ctx, Streaming::from_iter(route))
        .await?;
    tell(&format!(
        "  <- {} points, {} features, {} m",
        summary.point_count, summary.feature_count, summary.distance
    ));

    tell("bidirectional streaming: RouteChat");
    let (notes, requests) = Streaming::channel(4);
    let mut replies = guide.route_chat(&ctx, requests).await?;
    for (message, earlier) in [("Nice columns.", 0), ("Who took the horses?", 1)] {
        tell(&format!("  -> at {}: {message}", show(&gate)));
        let note = RouteNote {
            location: Some(gate.clone()).into(),
            message: message.to_owned(),
            ..RouteNote::default()
        };
        notes.send(note).await?;
        for _ in 0..earlier {
            if let Some(note) = replies.message().await? {
                tell(&format!("  <- somebody was here before: {}", note.message));
            }
        }
    }
    drop(notes);
    match replies.message().await? {
        None => tell("  <- that was all"),
        Some(note) => tell(&format!("  <- and also: {}", note.message)),
    }
    Ok(())
}

fn show(point: &Point) -> String {
    let mut text = String::new();
    let degrees = |e7: i32| f64::from(e7) / 1e7;
    // Writing to a string can't fail.
    let _ = write!(
        text,
        "{:.4}, {:.4}",
        degrees(point.latitude),
        degrees(point.longitude)
    );
    text
}
