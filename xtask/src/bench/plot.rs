//! The plot of the measurements: how often as fast as QEMU Ringer is, as bars on a logarithmic
//! scale, in SVG.

use std::fmt::Write as _;

use super::Measured;
use super::machine::Column;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 235.0;
const RIGHT: f64 = 55.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 34.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;

/// The colours: a panel of its own, so that the page behind does not matter, light or dark as the
/// reader's system is.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { fill: #59636e; font-size: 11px }
.panel { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #e2e7ec }
.one { stroke: #59636e; stroke-width: 1.5 }
.faster { fill: #2f7fd6 }
.slower { fill: #d9702b }
.asked { stroke: #1f2328; stroke-width: 2.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.small { fill: #9aa4af }
.panel { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #262c34 }
.one { stroke: #9aa4af }
.faster { fill: #4493f8 }
.slower { fill: #e58a4b }
.asked { stroke: #e6edf3 }
}";

/// A row with its ratio and what is asked of it.
struct Bar {
    title: &'static str,
    speed: f64,
    asked: f64,
}

/// A logarithmic axis.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// From one of 1, 2, 5, 10 … to another, with all bars and 1× between them.
    fn around(bars: &[Bar]) -> Self {
        let all = || bars.iter().flat_map(|bar| [bar.speed, bar.asked]);
        let least = all().fold(0.9, f64::min).max(1e-3);
        let most = all().fold(1.1, f64::max).min(1e4);
        Self {
            least: ticks().rfind(|&tick| tick <= least).unwrap_or(1e-3),
            most: ticks().find(|&tick| tick >= most).unwrap_or(1e4),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.most);
        let part = (value / self.least).ln() / (self.most / self.least).ln();
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (least, most) = (self.least, self.most);
        ticks().filter(move |tick| (least..=most).contains(tick))
    }
}

/// 0.001, 0.002, 0.005, … 10000.
fn ticks() -> impl DoubleEndedIterator<Item = f64> {
    [
        1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 1e1, 2e1, 5e1, 1e2, 2e2,
        5e2, 1e3, 2e3, 5e3, 1e4,
    ]
    .into_iter()
}

/// The plot of all rows that QEMU has a value for.
pub fn draw(measured: &Measured) -> String {
    let bars: Vec<Bar> = measured
        .rows
        .iter()
        .filter_map(|&row| {
            let speed = measured.speed(row, Column::Qemu)?;
            (speed.is_finite() && speed > 0.0).then_some(Bar {
                title: row.title,
                speed,
                asked: row.bar,
            })
        })
        .collect();
    let mut svg = String::new();
    // Nothing can fail that is written to a string.
    let _ = write(&mut svg, &bars, measured.ringer().title());
    svg
}

fn write(svg: &mut String, bars: &[Bar], ringer: &str) -> std::fmt::Result {
    let scale = Scale::around(bars);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + BOTTOM;
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{ringer} ÷ QEMU TCG</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"panel\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">{ringer} ÷ QEMU TCG: how often as fast</text>\n\
         <path class=\"asked\" d=\"M20 36v14\"/>\n\
         <text class=\"small\" x=\"28\" y=\"47\">what is asked of the row; logarithmic scale</text>",
        WIDTH - 1.0,
        height - 1.0
    )?;
    for tick in scale.ticks() {
        let x = scale.x(tick);
        let class = if tick == 1.0 { "one" } else { "grid" };
        writeln!(
            svg,
            "<path class=\"{class}\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}×</text>",
            bottom + 18.0
        )?;
    }
    let one = scale.x(1.0);
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64 + (ROW - BAR) / 2.0;
        let text = y + BAR - 3.0;
        let (from, to) = (one.min(scale.x(bar.speed)), one.max(scale.x(bar.speed)));
        let class = if bar.speed >= 1.0 { "faster" } else { "slower" };
        let asked = scale.x(bar.asked);
        // The number stands behind whatever reaches further, lest they cover each other.
        let end = if (to - 4.0..to + 44.0).contains(&asked) {
            asked
        } else {
            to
        };
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>\
             <path class=\"asked\" d=\"M{asked:.1} {}v{}\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{:.2}×</text>",
            LEFT - 10.0,
            bar.title,
            to - from,
            y - 3.0,
            BAR + 6.0,
            end + 6.0,
            bar.speed
        )?;
    }
    if bars.is_empty() {
        writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{TOP}\" text-anchor=\"middle\">nothing to compare</text>"
        )?;
    }
    writeln!(svg, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Engine;
    use crate::bench::rows;

    #[test]
    fn the_scale_is_logarithmic_and_holds_all_bars() {
        let bars = [Bar {
            title: "a",
            speed: 0.23,
            asked: 8.0,
        }];
        let scale = Scale::around(&bars);
        assert_eq!((scale.least, scale.most), (0.2, 10.0));
        let (a, b, c) = (scale.x(0.5), scale.x(1.0), scale.x(2.0));
        assert!((b - a - (c - b)).abs() < 1e-9);
        assert_eq!(scale.x(1e9), WIDTH - RIGHT);
    }

    #[test]
    fn each_row_has_a_bar() {
        let columns = vec![Column::Ringer(Engine::Translate), Column::Qemu];
        let mut measured = Measured::new(columns, rows::choose(&[]).unwrap());
        assert!(draw(&measured).contains("nothing to compare"));
        for row in measured.rows.clone() {
            measured.add(row, Column::Ringer(Engine::Translate), 10.0);
            measured.add(row, Column::Qemu, 20.0);
        }
        let svg = draw(&measured);
        assert_eq!(
            svg.matches("class=\"slower\"").count(),
            rows::ROWS.len() - 1
        );
        assert_eq!(svg.matches("class=\"faster\"").count(), 1, "the boot");
        assert_eq!(
            svg.matches("<path class=\"asked\"").count(),
            rows::ROWS.len() + 1
        );
    }
}
