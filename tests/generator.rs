//! The generator against every number of `golden/generator.json` and `golden/initial.json`, to the last bit.

use elman::Generator;
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", std::env::var("ELMAN_ROOT").unwrap_or(".".into()));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn generator() {
    let mut count = 0;
    for entry in golden("generator.json")["seeds"].as_array().unwrap() {
        let seed = entry["seed"].as_u64().unwrap();
        let normals = |g: &mut Generator, n: usize| {
            let mut v = vec![0.0; n];
            g.fill_normal(&mut v);
            v
        };
        let uniforms = |g: &mut Generator, n: usize, a: f32, b: f32| {
            let mut v = vec![0.0; n];
            g.fill_uniform(&mut v, a, b);
            v
        };
        assert_eq!(bits(&uniforms(&mut Generator::seed(seed), 100, 0.0, 1.0)), bits(&floats(&entry["rand_100"])));
        let mut g = Generator::seed(seed);
        for (i, call) in entry["randn_1_to_15"].as_array().unwrap().iter().enumerate() {
            assert_eq!(bits(&normals(&mut g, i + 1)), bits(&floats(call)));
        }
        for n in [16, 17, 20, 100] {
            assert_eq!(bits(&normals(&mut Generator::seed(seed), n)), bits(&floats(&entry[format!("randn_{n}")])));
        }
        let mut g = Generator::seed(seed);
        for call in entry["stream"].as_array().unwrap() {
            let expected = floats(&call["values"]);
            let drawn = match call["op"].as_str().unwrap() {
                "rand" => uniforms(&mut g, expected.len(), 0.0, 1.0),
                "randn" => normals(&mut g, expected.len()),
                _ => uniforms(
                    &mut g,
                    expected.len(),
                    call["from"].as_f64().unwrap() as f32,
                    call["to"].as_f64().unwrap() as f32,
                ),
            };
            count += drawn.len();
            assert_eq!(bits(&drawn), bits(&expected));
        }
    }
    assert!(count > 700);
}

#[test]
fn initial() {
    let order = |l: usize| ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|n| format!("{n}_l{l}"));
    for entry in golden("initial.json")["seeds"].as_array().unwrap() {
        let seed = entry["seed"].as_u64().unwrap();
        for (name, state) in entry["modules"].as_object().unwrap() {
            let mut g = Generator::seed(seed);
            let check = |g: &mut Generator, key: &str, bound: Option<usize>| {
                let expected = floats(&state[key]);
                let mut v = vec![0.0; expected.len()];
                match bound {
                    Some(n) => { let b = (1.0 / (n as f64).sqrt()) as f32; g.fill_uniform(&mut v, -b, b) }
                    None => g.fill_normal(&mut v),
                }
                assert_eq!(bits(&v), bits(&expected), "{seed} {name} {key}");
            };
            let (kind, rest) = name.split_once('(').unwrap_or(("tutorial", "0)"));
            let n: Vec<usize> = rest.trim_end_matches(')').split(',').map(|s| s.parse().unwrap()).collect();
            match kind {
                "RNNCell" => for k in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] { check(&mut g, k, Some(n[1])) },
                "RNN" => for l in 0..n[2] { for k in order(l) { check(&mut g, &k, Some(n[1])) } },
                "Embedding" => check(&mut g, "weight", None),
                "Linear" => for k in ["weight", "bias"] { check(&mut g, k, Some(n[0])) },
                _ => {
                    check(&mut g, "emb.weight", None);
                    for l in 0..2 { for k in order(l) { check(&mut g, &format!("rnn.{k}"), Some(8)) } }
                    for k in ["fc.weight", "fc.bias"] { check(&mut g, k, Some(8)) }
                }
            }
        }
    }
}
