//! `Linear`: one row and sequences, forward and backward.

use crate::bounds::{self, AffineSums, Near};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::{Linear, Parameters};

fn sequences<const IN: usize, const OUT: usize>() {
    property(40, case(IN * OUT), |case| {
        let mut numbers = Numbers(case.seed);
        let mut linear = Linear::<IN, OUT>::zeros_boxed();
        case.weights.fill(&mut numbers, IN, &mut linear);
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let (weight, bias) = (wide(&linear.weight_torch().collect::<Vec<f32>>()), wide(&linear.bias));
        let rows = case.steps * case.batch;
        let input = Rows::new(case.orders.0, case.shape(), case.data.rows::<IN>(&mut numbers, rows));
        let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<OUT>(&mut numbers, rows));

        at_every_level(|level| {
            let mut trace = Kept::<Box<Linear<IN, OUT>>>::at(level);
            if case.d_input {
                trace = trace.with_d_input();
            }
            linear.forward_into(input.view(), &mut trace)?;
            // Overwritten, whatever was there.
            let mut gradients = linear.clone();
            linear.backward_into(input.view(), &mut trace, d_output.view(), &mut gradients)?;
            // Added to what is there, here the weights: the same sums with one term more.
            let mut added = linear.clone();
            linear.backward_add(input.view(), &mut trace, d_output.view(), &(), &mut added)?;
            let mut added_sums = AffineSums::zeros(weight.len(), OUT);
            added_sums.start(&weight, &bias);
            let mut sums = AffineSums::zeros(weight.len(), OUT);
            for b in 0..case.batch {
                for t in 0..case.steps {
                    let (x, d_y) = (input.view().row(b, t), d_output.view().row(b, t));
                    let (near_x, near_d_y) = (Near::exact(x), Near::exact(d_y));
                    let y = trace.output().row(b, t).as_slice();
                    bounds::affine(&weight, &bias, &near_x).check("y", y)?;
                    same_bits("a row alone", y, &linear.at(level).apply(x))?;
                    let d_x = bounds::affine_backward(&weight, &near_x, &near_d_y, &mut sums);
                    bounds::affine_backward(&weight, &near_x, &near_d_y, &mut added_sums);
                    if let Some(d_input) = trace.d_input() {
                        d_x.check("d x", d_input.row(b, t))?;
                    }
                }
            }
            let mut in_torch_order = Linear::<OUT, IN>::zeros_boxed();
            for (i, row) in gradients.weight.iter().enumerate() {
                for (o, d) in row.iter().enumerate() {
                    in_torch_order.weight[o][i] = *d;
                }
            }
            sums.weight().check("d weight", in_torch_order.weight.as_flattened())?;
            sums.bias().check("d bias", &gradients.bias)?;
            added_sums.weight().check("added d weight", &added.weight_torch().collect::<Vec<f32>>())?;
            added_sums.bias().check("added d bias", &added.bias)?;
            same_bits(
                "as PyTorch reads it",
                &gradients.weight_torch().collect::<Vec<f32>>(),
                in_torch_order.weight.as_flattened(),
            )?;
            if rows == 0 {
                same_bits("gradients of nothing", &flat(&gradients), &flat(&linear.zeros_like()))?;
            }
            Ok(())
        })
    });
}

for_sizes!(sequences:
    in_1_out_1(1, 1), in_2_out_3(2, 3), in_4_out_5(4, 5), in_8_out_4(8, 4), in_7_out_16(7, 16), in_16_out_31(16, 31),
    in_17_out_33(17, 33), in_33_out_17(33, 17), in_64_out_64(64, 64), in_100_out_3(100, 3), in_3_out_130(3, 130),
    in_300_out_1(300, 1), in_530_out_37(530, 37),
);
