//! Plots, as SVG.

use std::fmt::Write;

const COLOURS: [&str; 9] = [
    "#c0392b", "#e67e22", "#f1c40f", "#7f8c8d", "#2980b9", "#5dade2", "#1abc9c", "#8e44ad",
    "#27ae60",
];
const FONT: &str = "font-family=\"sans-serif\" font-size=\"12\"";

/// Named bars in groups, on a logarithmic scale.
pub fn bars(title: &str, groups: &[(String, Vec<(String, f64)>)]) -> String {
    const LEFT: f64 = 300.0;
    const WIDTH: f64 = 560.0;
    const BAR: f64 = 14.0;
    let values = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, value)| *value);
    let (low, high) = range(values);
    let scale = |value: f64| (value.log10() - low) / (high - low) * WIDTH;
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in groups.iter().flat_map(|(_, bars)| bars) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut body = String::new();
    let mut y = 40.0;
    for (group, bars) in groups {
        let middle = y + bars.len() as f64 * BAR / 2.0 + 4.0;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{middle:.0}\" text-anchor=\"end\" {FONT}>{group}</text>",
            LEFT - 8.0
        );
        for (name, value) in bars {
            let colour = colour(names.iter().position(|other| *other == name));
            let width = scale(*value).max(1.0);
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\">\
                 <title>{name}: {value:.3}</title></rect>\
                 <text x=\"{:.0}\" y=\"{:.0}\" font-family=\"sans-serif\" font-size=\"10\">{name} {}</text>",
                BAR - 2.0,
                LEFT + width + 4.0,
                y + BAR - 4.0,
                crate::table::big(*value),
            );
            y += BAR;
        }
        y += 10.0;
    }
    document(title, LEFT + WIDTH + 160.0, y + 20.0, &body)
}

/// Lines through points, both scales logarithmic.
pub fn lines(title: &str, x_axis: &str, lines: &[(String, Vec<(f64, f64)>)]) -> String {
    const LEFT: f64 = 80.0;
    const TOP: f64 = 40.0;
    const WIDTH: f64 = 520.0;
    const HEIGHT: f64 = 300.0;
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (left, right) = range(points().map(|point| point.0));
    let (low, high) = range(points().map(|point| point.1));
    let x = |value: f64| LEFT + (value.log10() - left) / (right - left) * WIDTH;
    let y = |value: f64| TOP + HEIGHT - (value.log10() - low) / (high - low) * HEIGHT;
    let mut body = String::new();
    for decade in left as i32..=right as i32 {
        let value = 10f64.powi(decade);
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\" {FONT}>{}</text>",
            x(value),
            TOP + HEIGHT + 18.0,
            crate::table::big(value)
        );
    }
    for decade in low as i32..=high as i32 {
        let value = 10f64.powi(decade);
        let at = y(value);
        let _ = writeln!(
            body,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.0}\" y2=\"{at:.0}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\" {FONT}>{}</text>",
            LEFT + WIDTH,
            LEFT - 6.0,
            at + 4.0,
            crate::table::big(value)
        );
    }
    for (n, (name, points)) in lines.iter().enumerate() {
        let colour = colour(Some(n));
        let path: Vec<_> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = writeln!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\" {FONT}>{name}</text>",
            path.join(" "),
            LEFT + WIDTH + 10.0,
            TOP + 16.0 * (n + 1) as f64
        );
    }
    let _ = writeln!(
        body,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" {FONT}>{x_axis}</text>",
        LEFT + WIDTH / 2.0,
        TOP + HEIGHT + 40.0
    );
    document(title, LEFT + WIDTH + 260.0, TOP + HEIGHT + 60.0, &body)
}

/// The decades around all values, as exponents.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let exponents = values.filter(|value| *value > 0.0).map(f64::log10);
    let (low, high) = exponents.fold((f64::MAX, f64::MIN), |(low, high), exponent| {
        (low.min(exponent), high.max(exponent))
    });
    if low > high {
        return (0.0, 1.0);
    }
    (low.floor(), high.ceil().max(low.floor() + 1.0))
}

fn colour(n: Option<usize>) -> &'static str {
    COLOURS[n.unwrap_or_default() % COLOURS.len()]
}

fn document(title: &str, width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"22\" font-family=\"sans-serif\" font-size=\"15\">{title}</text>\n\
         {body}</svg>\n"
    )
}
