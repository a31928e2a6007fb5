//! The plots of `report.html`, drawn by plotters as SVG.
//!
//! plotters writes fixed colours; the page wants to choose them for light, dark and paper. So everything is drawn in
//! placeholder colours, which are replaced by references to the page's own in the text of the SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::markdown::figure;

const WIDTH: u32 = 400;
/// Placeholders: text, faint text, lines of the grid; series follow from [`SERIES`] on.
const TEXT: RGBColor = RGBColor(1, 0, 0);
const FAINT: RGBColor = RGBColor(2, 0, 0);
const GRID: RGBColor = RGBColor(3, 0, 0);
const SERIES: u8 = 16;
/// How many colours the page has for series.
pub(super) const COLOURS: usize = 10;
const FONT: &str = "sans-serif";

/// A bar with its interval.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub label: String,
    /// Which of the page's colours.
    pub colour: usize,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// Written behind the value.
    pub note: String,
}

/// A line through points, with the range around each.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub colour: usize,
    /// x, low, middle, high.
    pub points: Vec<(f64, f64, f64, f64)>,
}

/// Where the marks of an x axis stand and what is written there.
pub(super) type Marks = Vec<(f64, String)>;

/// Horizontal bars from zero, one below the other, each with its value.
pub(super) fn bars(bars: &[Bar]) -> Result<String> {
    const ROW: i32 = 28;
    const RIGHT: i32 = 100;
    let longest = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let left = (8 * longest as i32 + 10).clamp(60, 160);
    let height = ROW * bars.len() as i32 + 6;
    let most = bars.iter().map(|bar| bar.high.max(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| left + (value.max(0.0) / most * f64::from(WIDTH as i32 - left - RIGHT)).round() as i32;
    draw(height as u32, |area| {
        for (bar, row) in bars.iter().zip(0..) {
            let (top, middle, bottom) = (row * ROW + 6, row * ROW + 3 + ROW / 2, row * ROW + ROW);
            let label = style(14, TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&bar.label, &label, (left - 8, middle))?;
            let end = x(bar.value).max(left + 1);
            area.draw(&Rectangle::new([(left, top), (end, bottom)], series(bar.colour).filled()))?;
            let (low, high) = (x(bar.low), x(bar.high));
            if high > low {
                for ends in [[(low, middle), (high, middle)], [(low, middle - 4), (low, middle + 4)]] {
                    area.draw(&PathElement::new(ends, TEXT.stroke_width(1)))?;
                }
                area.draw(&PathElement::new([(high, middle - 4), (high, middle + 4)], TEXT.stroke_width(1)))?;
            }
            let value = style(14, TEXT).pos(Pos::new(HPos::Left, VPos::Center));
            let text = figure(bar.value);
            let start = end.max(high) + 6;
            area.draw_text(&text, &value, (start, middle))?;
            let note = style(12, FAINT).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&bar.note, &note, (start + 6 + 8 * text.chars().count() as i32, middle))?;
        }
        Ok(())
    })
}

/// How values are spread over the y axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten, for values that span several.
    Logarithmic,
}

impl Scale {
    /// The marks of an axis that holds the values from `least` to `most`: the first and the last are its ends.
    fn marks(self, least: f64, most: f64) -> Vec<f64> {
        match self {
            Scale::Linear => {
                let step = tidy_step(most / 4.0);
                (0..=(most / step).ceil() as i32).map(|n| f64::from(n) * step).collect()
            }
            Scale::Logarithmic => {
                let steps = (0..).map(|n| 10_f64.powi(n / 3) * [1.0, 2.0, 5.0][n as usize % 3]);
                let start = 10_f64.powf(least.log10().floor());
                let all: Vec<f64> = steps.take(60).map(|step| start * step).collect();
                let from = all.iter().rposition(|mark| *mark <= least).unwrap_or(0);
                let to = all.iter().position(|mark| *mark >= most).unwrap_or(all.len() - 1).max(from + 1);
                all[from..=to].to_vec()
            }
        }
    }

    /// Where `value` stands between the ends of the axis, from 0 to 1.
    fn place(self, value: f64, ends: (f64, f64)) -> f64 {
        match self {
            Scale::Linear => value / ends.1,
            Scale::Logarithmic => (value / ends.0).log10() / (ends.1 / ends.0).log10(),
        }
    }
}

/// Lines over a common x axis.
pub(super) fn lines(lines: &[Line], marks: &Marks, titles: [&str; 2], scale: Scale) -> Result<String> {
    const HEIGHT: i32 = 250;
    const LEFT: i32 = 46;
    const TOP: i32 = 22;
    const BOTTOM: i32 = HEIGHT - 42;
    const RIGHT: i32 = WIDTH as i32 - 22;
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|point| point.3).fold(f64::MIN_POSITIVE, f64::max);
    let least = points().map(|point| point.1).filter(|value| *value > 0.0).fold(most, f64::min);
    // Nothing at or below zero has a place on a logarithmic axis.
    let scale = if points().all(|point| point.1 > 0.0) { scale } else { Scale::Linear };
    let levels = scale.marks(least, most);
    let ends = (levels.first().copied().unwrap_or(0.0), levels.last().copied().unwrap_or(1.0));
    let from = marks.first().map_or(0.0, |mark| mark.0);
    let to = marks.last().map_or(1.0, |mark| mark.0).max(from + 1e-9);
    let x = |value: f64| LEFT + ((value - from) / (to - from) * f64::from(RIGHT - LEFT)).round() as i32;
    let y = |value: f64| BOTTOM - (scale.place(value, ends) * f64::from(BOTTOM - TOP)).round() as i32;
    draw(HEIGHT as u32, |area| {
        for value in &levels {
            area.draw(&PathElement::new([(LEFT, y(*value)), (RIGHT, y(*value))], GRID.stroke_width(1)))?;
            let label = style(12, FAINT).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&tick(*value), &label, (LEFT - 6, y(*value)))?;
        }
        for (at, text) in marks {
            area.draw_text(text, &style(12, FAINT).pos(Pos::new(HPos::Center, VPos::Top)), (x(*at), BOTTOM + 6))?;
        }
        let (title, [x_title, y_title]) = (style(12, FAINT), titles);
        area.draw_text(x_title, &title.pos(Pos::new(HPos::Center, VPos::Top)), ((LEFT + RIGHT) / 2, BOTTOM + 24))?;
        area.draw_text(y_title, &title.pos(Pos::new(HPos::Left, VPos::Top)), (4, 2))?;
        for line in lines {
            draw_line(area, line, x, y)?;
        }
        Ok(())
    })
}

fn draw_line(area: &Area, line: &Line, x: impl Fn(f64) -> i32, y: impl Fn(f64) -> i32) -> Result<(), Failure> {
    let colour = series(line.colour);
    for (at, low, _, high) in line.points.iter().filter(|point| point.3 > point.1) {
        area.draw(&PathElement::new([(x(*at), y(*low)), (x(*at), y(*high))], colour.stroke_width(1)))?;
    }
    let path: Vec<(i32, i32)> = line.points.iter().map(|(at, _, middle, _)| (x(*at), y(*middle))).collect();
    for place in &path {
        area.draw(&Circle::new(*place, 2, colour.filled()))?;
    }
    area.draw(&PathElement::new(path, colour.stroke_width(2)))
}

/// A distance between marks that people like: 1, 2 or 5 times a power of ten.
fn tidy_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(f64::MIN_POSITIVE).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if value >= 10_000.0 { format!("{:.0}k", value / 1000.0) } else { text.to_owned() }
}

fn style(size: u32, colour: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&colour)
}

fn series(colour: usize) -> RGBColor {
    RGBColor(SERIES + (colour % COLOURS) as u8, 0, 0)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn draw(height: u32, paint: impl FnOnce(&Area) -> Result<(), Failure>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let outcome = paint(&area).and_then(|()| area.present());
        outcome.map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
    }
    Ok(themed(&text, height))
}

/// The page's colours for the placeholders, and the page's width for the drawing's.
fn themed(svg: &str, height: u32) -> String {
    let mut text = svg.replace(&format!("width=\"{WIDTH}\" height=\"{height}\" viewBox"), "role=\"img\" viewBox");
    let names = [(TEXT, "text".to_owned()), (FAINT, "faint".to_owned()), (GRID, "grid".to_owned())];
    let names = names.into_iter().chain((0..COLOURS).map(|n| (series(n), format!("series-{n}"))));
    for (colour, name) in names {
        text = text
            .replace(&format!("\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2), &format!("\"var(--{name})\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64) -> Bar {
        Bar { label: label.into(), colour: 1, value, low: value * 0.9, high: value * 1.1, note: "×0.5".into() }
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = bars(&[bar("native", 50.0), bar("a <b>", 25.0)]).unwrap();
        assert!(svg.contains("native") && svg.contains("a &lt;b&gt;") && !svg.contains("a <b>"), "{svg}");
        let widths: Vec<i32> = svg
            .split("<rect ")
            .skip(1)
            .filter_map(|rect| rect.split_once(" width=\"")?.1.split_once('"')?.0.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[0] - 2 * widths[1]).abs() <= 2, "{widths:?}");
    }

    #[test]
    fn no_fixed_colour_is_left() {
        let line = Line { colour: 9, points: vec![(0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 2.0, 2.0)] };
        let marks = vec![(0.0, "0".to_owned()), (1.0, "1".to_owned())];
        for svg in
            [bars(&[bar("native", 1.0)]).unwrap(), lines(&[line], &marks, ["s", "Gbit/s"], Scale::Linear).unwrap()]
        {
            assert!(!svg.contains("\"#"), "{svg}");
            assert!(svg.contains("var(--text)") || svg.contains("var(--faint)"), "{svg}");
            assert!(svg.contains("viewBox") && !svg.contains("width=\"400\" height"), "{svg}");
        }
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        assert!(bars(&[]).unwrap().contains("<svg"));
        assert!(lines(&[], &Vec::new(), ["", ""], Scale::Logarithmic).unwrap().contains("<svg"));
        assert!(bars(&[bar("zero", 0.0)]).is_ok());
    }

    #[test]
    fn marks_hold_all_values() {
        assert_eq!(Scale::Linear.marks(3.0, 17.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        let marks = Scale::Logarithmic.marks(0.31, 30.0);
        assert_eq!(marks.len(), 8, "{marks:?}");
        assert!((marks[0] - 0.2).abs() < 1e-9 && (marks[7] - 50.0).abs() < 1e-9, "{marks:?}");
        let ends = (0.2, 20.0);
        assert!((Scale::Logarithmic.place(2.0, ends) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::Linear.place(5.0, (0.0, 20.0)), 0.25);
    }

    #[test]
    fn steps_are_tidy() {
        for (rough, step) in [(0.7, 1.0), (1.2, 2.0), (23.0, 50.0), (0.031, 0.05), (5.0, 5.0)] {
            assert!((tidy_step(rough) - step).abs() < step * 1e-9, "{rough}: {}", tidy_step(rough));
        }
        assert_eq!(
            (tick(0.05), tick(20.0), tick(0.0), tick(25_000.0)),
            ("0.05".into(), "20".into(), "0".into(), "25k".into())
        );
    }
}
