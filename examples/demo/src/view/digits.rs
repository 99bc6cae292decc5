//! Numbers three rows high, for what must be seen from across a room.

/// The three rows of a digit, each three cells wide.
const fn rows(digit: u8) -> [&'static str; 3] {
    match digit {
        b'1' => ["▀█ ", " █ ", "▀▀▀"],
        b'2' => ["▀▀█", "█▀▀", "▀▀▀"],
        b'3' => ["▀▀█", " ▀█", "▀▀▀"],
        b'4' => ["█ █", "▀▀█", "  ▀"],
        b'5' => ["█▀▀", "▀▀█", "▀▀▀"],
        b'6' => ["█▀▀", "█▀█", "▀▀▀"],
        b'7' => ["▀▀█", "  █", "  ▀"],
        b'8' => ["█▀█", "█▀█", "▀▀▀"],
        b'9' => ["█▀█", "▀▀█", "▀▀▀"],
        _ => ["█▀█", "█ █", "▀▀▀"],
    }
}

/// A number in three rows, a cell between its digits.
pub(super) fn large(number: u64) -> [String; 3] {
    let digits: Vec<[&str; 3]> = number.to_string().bytes().map(rows).collect();
    [0, 1, 2].map(|row| {
        let cells: Vec<&str> = digits.iter().map(|digit| digit[row]).collect();
        cells.join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_three_by_three_and_differs_from_the_others() {
        let digits: Vec<[String; 3]> = (0..10).map(large).collect();
        for (number, digit) in digits.iter().enumerate() {
            assert!(digit.iter().all(|row| row.chars().count() == 3), "{number}");
            let same = digits.iter().filter(|other| *other == digit).count();
            assert_eq!(same, 1, "{number} looks like another digit");
        }
        assert_eq!(large(40)[0].chars().count(), 7);
    }
}
