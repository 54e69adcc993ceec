use super::*;

#[test]
fn the_second_segment_begins_where_the_comparison_says() {
    for (bits, is_second) in [(SECOND - 1, false), (SECOND, true)] {
        let x = f32::from_bits(bits as u32);
        for t in [x.mul_add(SCALE, OFFSET), x * SCALE + OFFSET] {
            assert_eq!(t.to_bits() >> 22 == 0.75f32.to_bits() >> 22, is_second, "{x}");
        }
    }
}
