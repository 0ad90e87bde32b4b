//! A chart: curves over two logarithmic axes, as an SVG that can be read on a light page and on a dark one: nothing is
//! painted behind it, and every colour is of middle brightness.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 480);
const INK: RGBColor = RGBColor(118, 131, 144);
const COLOURS: [RGBColor; 6] = [
    RGBColor(47, 129, 247),
    RGBColor(219, 109, 40),
    RGBColor(46, 160, 67),
    RGBColor(163, 113, 247),
    RGBColor(224, 76, 92),
    RGBColor(184, 134, 11),
];
const FONT: &str = "sans-serif";
/// An axis reaches so much further than its points.
const MARGIN: f64 = 1.25;

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    /// What the legend calls it.
    pub(super) label: String,
    /// Its points, by x; both coordinates above 0.
    pub(super) points: Vec<(f64, f64)>,
}

/// An axis: what it shows, with the unit, and what a unit is called in front of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) unit: Unit,
}

/// How numbers of an axis are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    /// 1, 10, 1 k, 1 M.
    Count,
    /// B, KB, MB, GB: powers of 1,000.
    Bytes,
    /// Of microseconds: µs, ms, s.
    Microseconds,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    /// Of its file.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) curves: Vec<Curve>,
}

impl Chart {
    /// The drawing; the words of what is wrong with it otherwise.
    pub(super) fn to_svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        self.draw(&area).map_err(|error| error.to_string())?;
        drop(area);
        Ok(svg)
    }

    fn draw<'a>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
        let font = |size: i32| (FONT, size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, font(20))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(
                self.range(|point| point.0).log_scale(),
                self.range(|point| point.1).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .x_label_formatter(&|value| self.x.unit.text(*value))
            .y_label_formatter(&|value| self.y.unit.text(*value))
            .label_style(font(13))
            .axis_desc_style(font(14))
            .axis_style(INK)
            .bold_line_style(INK.mix(0.35))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (curve, colour) in self.curves.iter().zip(COLOURS.into_iter().cycle()) {
            let stroke = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), stroke))?
                .label(&curve.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
            chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(font(13))
            .background_style(TRANSPARENT)
            .border_style(TRANSPARENT)
            .draw()?;
        area.present()
    }

    /// From below the least to above the largest coordinate of all points.
    fn range(&self, coordinate: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let values = || self.curves.iter().flat_map(|curve| &curve.points).map(&coordinate);
        values().fold(f64::MAX, f64::min) / MARGIN..values().fold(f64::MIN_POSITIVE, f64::max) * MARGIN
    }
}

impl Unit {
    /// A number with its unit; steps of 1,000.
    fn text(self, value: f64) -> String {
        let steps: &[(f64, &str)] = match self {
            Self::Count => &[(1e9, " G"), (1e6, " M"), (1e3, " k"), (0.0, "")],
            Self::Bytes => &[(1e9, " GB"), (1e6, " MB"), (1e3, " KB"), (0.0, " B")],
            Self::Microseconds => &[(1e6, " s"), (1e3, " ms"), (0.0, " µs")],
        };
        let (step, name) = steps.iter().find(|(step, _)| value >= *step).copied().unwrap_or((0.0, ""));
        let value = if step > 0.0 { value / step } else { value };
        format!("{}{name}", (value * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_unit() {
        assert_eq!(Unit::Count.text(2_500_000.0), "2.5 M");
        assert_eq!(Unit::Bytes.text(400.0), "400 B");
        assert_eq!(Unit::Microseconds.text(1_000.0), "1 ms");
        assert_eq!(Unit::Microseconds.text(0.5), "0.5 µs");
    }

    #[test]
    fn a_chart_names_its_axes_and_curves_and_paints_no_background() {
        let curve = |label: &str, factor: f64| Curve {
            label: label.to_owned(),
            points: [1e3, 1e4, 1e6].map(|x| (x, x * factor)).to_vec(),
        };
        let chart = Chart {
            name: "memory",
            title: "Memory by connections",
            x: Axis { label: "sessions", unit: Unit::Count },
            y: Axis { label: "bytes", unit: Unit::Bytes },
            curves: vec![curve("server", 400.0), curve("kernel", 7_000.0)],
        };
        let svg = chart.to_svg().unwrap();
        for words in ["<svg", "Memory by connections", "sessions", "server", "kernel", "GB", "</svg>"] {
            assert!(svg.contains(words), "{words} in {svg}");
        }
        assert!(!svg.contains("#FFFFFF\" stroke=\"none\"") && !svg.contains("#000000"), "{svg}");
    }
}
