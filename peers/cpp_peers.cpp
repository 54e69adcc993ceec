// Eigen and oneDNN for the table of peers. The program in src/ runs this and speaks with it as src/worker.rs says.
//
//     cpp_peers THREADS DIRECTORY
//
// The data are in DIRECTORY, as little-endian float32: sequences batch-first, weights [gate and out][in] with PyTorch's
// order of gates: r z n of a GRU, i f g o of an LSTM.

// Weights of fixed sizes are larger than Eigen allows by default.
#define EIGEN_STACK_ALLOCATION_LIMIT (1 << 20)

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <unordered_map>
#include <vector>

constexpr int STEPS = 100, LONG_STEPS = 10000, BATCH = 64, SINGLE_STEPS = 1000;

using Floats = std::vector<float>;

// The tensors of a work by name.
struct Data {
    std::string directory, work, kind, cell;
    int size;

    Data(const std::string& directory, const std::string& work) : directory(directory), work(work) {
        std::istringstream fields(work);
        std::getline(std::getline(fields, kind, '-'), cell, '-') >> size;
    }

    Floats get(const std::string& name) const {
        std::ifstream file(directory + "/" + work + "." + name + ".f32", std::ios::binary | std::ios::ate);
        if (!file) throw std::runtime_error("no data named " + name);
        Floats values(file.tellg() / sizeof(float));
        file.seekg(0);
        file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
        return values;
    }

    // The two biases of a layer as one, for cells that do without two.
    Floats bias() const {
        Floats sum = get("bias_ih"), other = get("bias_hh");
        std::transform(sum.begin(), sum.end(), other.begin(), sum.begin(), std::plus<float>());
        return sum;
    }
};

// A piece of work, ready to be run again and again.
struct Candidate {
    virtual ~Candidate() = default;
    virtual void run() = 0;
    // Runs once, and gives all the numbers one after the other.
    virtual Floats result() = 0;
};

// ---------------------------------------------------------------------------------------------------- Eigen

template <int H>
using Vector = Eigen::Matrix<float, H, 1>;
// Column-major: row-major ones took up to twice as long.
template <int ROWS, int COLUMNS>
using Matrix = Eigen::Matrix<float, ROWS, COLUMNS>;
template <int ROWS, int COLUMNS>
using FileMatrix = Eigen::Matrix<float, ROWS, COLUMNS, Eigen::RowMajor>;

// Up to here products that are unrolled are the fastest.
template <int H>
constexpr bool UNROLLED = H <= 16;

template <int H>
struct EigenTanh {
    using State = std::array<Vector<H>, 1>;

    // Those of the input, then those of the state.
    Matrix<H, 2 * H> weights;
    Vector<H> bias;

    explicit EigenTanh(const Data& data) {
        using File = FileMatrix<H, H>;
        const Floats weight_ih = data.get("weight_ih"), weight_hh = data.get("weight_hh");
        weights << Eigen::Map<const File>(weight_ih.data()), Eigen::Map<const File>(weight_hh.data());
        bias = Eigen::Map<const Vector<H>>(data.bias().data());
    }

    State next(const Vector<H>& x, const State& state) const {
        Vector<H> sum = bias;
        if constexpr (UNROLLED<H>) {
            Vector<2 * H> both;
            both << x, state[0];
            sum.noalias() += weights.lazyProduct(both);
        } else {
            sum.noalias() += weights.template leftCols<H>() * x;
            sum.noalias() += weights.template rightCols<H>() * state[0];
        }
        return {sum.array().tanh()};
    }
};

// A number for each gate and neuron: unrolled, each gate is a vector of its own.
template <int GATES, int H>
struct EigenGates {
    std::conditional_t<UNROLLED<H>, std::array<Vector<H>, GATES>, Vector<GATES * H>> numbers;

    explicit EigenGates(const Floats& file) {
        const Vector<GATES * H> all = Eigen::Map<const Vector<GATES * H>>(file.data());
        if constexpr (UNROLLED<H>) {
            for (int gate = 0; gate < GATES; ++gate) numbers[gate] = all.template segment<H>(gate * H);
        } else {
            numbers = all;
        }
    }

    auto gate(int gate) const {
        if constexpr (UNROLLED<H>) {
            return numbers[gate].array();
        } else {
            return numbers.template segment<H>(gate * H).array();
        }
    }
};

template <int GATES, int H>
struct EigenWeights {
    std::conditional_t<UNROLLED<H>, std::array<Matrix<H, H>, GATES>, Matrix<GATES * H, H>> weights;

    explicit EigenWeights(const Floats& file) {
        const Eigen::Map<const FileMatrix<GATES * H, H>> all(file.data());
        if constexpr (UNROLLED<H>) {
            for (int gate = 0; gate < GATES; ++gate) weights[gate] = all.template middleRows<H>(gate * H);
        } else {
            weights = all;
        }
    }

    void add_product(const Vector<H>& x, EigenGates<GATES, H>& sums) const {
        if constexpr (UNROLLED<H>) {
            for (int gate = 0; gate < GATES; ++gate) sums.numbers[gate].noalias() += weights[gate].lazyProduct(x);
        } else {
            sums.numbers.noalias() += weights * x;
        }
    }
};

template <int H>
struct EigenGru {
    using State = std::array<Vector<H>, 1>;

    EigenWeights<3, H> weight_ih, weight_hh;
    EigenGates<3, H> bias_ih, bias_hh;

    explicit EigenGru(const Data& data)
        : weight_ih(data.get("weight_ih")),
          weight_hh(data.get("weight_hh")),
          bias_ih(data.get("bias_ih")),
          bias_hh(data.get("bias_hh")) {}

    State next(const Vector<H>& x, const State& state) const {
        EigenGates<3, H> input = bias_ih, recurrent = bias_hh;
        weight_ih.add_product(x, input);
        weight_hh.add_product(state[0], recurrent);
        const Vector<H> r = (input.gate(0) + recurrent.gate(0)).logistic();
        const Vector<H> z = (input.gate(1) + recurrent.gate(1)).logistic();
        const Vector<H> n = (input.gate(2) + r.array() * recurrent.gate(2)).tanh();
        return {n.array() + z.array() * (state[0] - n).array()};
    }
};

template <int H>
struct EigenLstm {
    using State = std::array<Vector<H>, 2>;

    EigenWeights<4, H> weight_ih, weight_hh;
    EigenGates<4, H> bias;

    explicit EigenLstm(const Data& data)
        : weight_ih(data.get("weight_ih")), weight_hh(data.get("weight_hh")), bias(data.bias()) {}

    State next(const Vector<H>& x, const State& state) const {
        EigenGates<4, H> sums = bias;
        weight_ih.add_product(x, sums);
        weight_hh.add_product(state[0], sums);
        const Vector<H> i = sums.gate(0).logistic(), f = sums.gate(1).logistic();
        const Vector<H> g = sums.gate(2).tanh(), o = sums.gate(3).logistic();
        const Vector<H> c = f.array() * state[1].array() + i.array() * g.array();
        return {o.array() * c.array().tanh(), c};
    }
};

// Single steps with matrices of fixed sizes.
template <template <int> class Layer, int H>
struct EigenSteps : Candidate {
    Layer<H> layer;
    Vector<H> x;
    typename Layer<H>::State state{};

    explicit EigenSteps(const Data& data) : layer(data), x(Eigen::Map<const Vector<H>>(data.get("x").data())) {
        for (Vector<H>& part : state) part.setZero();
    }

    void run() override {
        // A local variable, so that a small state may stay in registers.
        typename Layer<H>::State last = state;
        for (int step = 0; step < SINGLE_STEPS; ++step) {
            // Hides from the compiler that x is always the same, as black_box does in Rust.
            asm volatile("" : "+m"(x));
            last = layer.next(x, last);
        }
        state = last;
    }

    Floats result() override {
        run();
        Floats result;
        for (const Vector<H>& part : state) result.insert(result.end(), part.data(), part.data() + H);
        return result;
    }
};

template <template <int> class Layer>
std::unique_ptr<Candidate> eigen_steps(const Data& data) {
    switch (data.size) {
        case 4: return std::make_unique<EigenSteps<Layer, 4>>(data);
        case 8: return std::make_unique<EigenSteps<Layer, 8>>(data);
        case 16: return std::make_unique<EigenSteps<Layer, 16>>(data);
        case 32: return std::make_unique<EigenSteps<Layer, 32>>(data);
        case 64: return std::make_unique<EigenSteps<Layer, 64>>(data);
        case 128: return std::make_unique<EigenSteps<Layer, 128>>(data);
    }
    throw std::runtime_error("no layer of " + std::to_string(data.size) + " neurons was compiled");
}

// ---------------------------------------------------------------------------------------------------- oneDNN

using dnnl::memory;
using Layout = memory::format_tag;

constexpr auto DIRECTION = dnnl::rnn_direction::unidirectional_left2right;
// Where a primitive gets this it does without: a first state of zeros, a last state that nobody asks for.
const memory::desc NONE;

dnnl::engine processor(dnnl::engine::kind::cpu, 0);
dnnl::stream stream(processor);

memory::desc description(const memory::dims& shape, Layout layout) { return {shape, memory::data_type::f32, layout}; }

void set_zero(memory& tensor) { std::memset(tensor.get_data_handle(), 0, tensor.get_desc().get_size()); }

memory zeros(const memory::desc& wanted) {
    memory tensor(wanted, processor);
    set_zero(tensor);
    return tensor;
}

void copy(memory source, memory target) {
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
}

// Values in the layout of the files, as a tensor in the layout that a primitive wants.
memory load(Floats values, const memory::desc& file, const memory::desc& wanted) {
    if (values.size() * sizeof(float) != file.get_size()) throw std::runtime_error("data of a wrong length");
    memory tensor(wanted, processor);
    copy(memory(file, processor, values.data()), tensor);
    return tensor;
}

// The values of a tensor in the layout of the files.
Floats values_of(const memory& tensor, const memory::desc& file) {
    Floats values(file.get_size() / sizeof(float));
    copy(tensor, memory(file, processor, values.data()));
    return values;
}

void append(Floats& result, const Floats& values) { result.insert(result.end(), values.begin(), values.end()); }

// The descriptions that make a primitive: sequences, a state, weights and biases.
struct Shapes {
    memory::desc rows, state, weights, bias;
};

// What differs between the cells. `swap_gates` turns PyTorch's order of gates into oneDNN's and back.

struct OneDnnTanh {
    using Forward = dnnl::vanilla_rnn_forward;
    using Backward = dnnl::vanilla_rnn_backward;
    static constexpr int GATES = 1, BIASES = 1;
    static constexpr auto TANH = dnnl::algorithm::eltwise_tanh;

    static Forward::desc forward(dnnl::prop_kind kind, const Shapes& s) {
        return {kind, TANH, DIRECTION, s.rows, s.state, s.weights, s.weights, s.bias, s.rows, NONE};
    }

    static Backward::desc backward(const Shapes& s) {
        return {dnnl::prop_kind::backward, TANH, DIRECTION, s.rows, s.state, s.weights, s.weights, s.bias, s.rows,
                NONE, s.rows, s.state, s.weights, s.weights, s.bias, s.rows, NONE};
    }

    static Floats swap_gates(Floats values) { return values; }
    static Floats biases(const Data& data) { return data.bias(); }
    static Floats bias_gradients(Floats gradients) { return gradients; }
};

// Its gates are u (z), r, o (n); a fourth bias is that of n's recurrent part.
struct OneDnnGru {
    using Forward = dnnl::lbr_gru_forward;
    using Backward = dnnl::lbr_gru_backward;
    static constexpr int GATES = 3, BIASES = 4;

    static Forward::desc forward(dnnl::prop_kind kind, const Shapes& s) {
        return {kind, DIRECTION, s.rows, s.state, s.weights, s.weights, s.bias, s.rows, NONE};
    }

    static Backward::desc backward(const Shapes& s) {
        return {dnnl::prop_kind::backward, DIRECTION, s.rows, s.state, s.weights, s.weights, s.bias, s.rows, NONE,
                s.rows, s.state, s.weights, s.weights, s.bias, s.rows, NONE};
    }

    static Floats swap_gates(Floats values) {
        const auto gate = values.size() / GATES;
        std::swap_ranges(values.begin(), values.begin() + gate, values.begin() + gate);
        return values;
    }

    static Floats biases(const Data& data) {
        const Floats bias_ih = swap_gates(data.get("bias_ih")), bias_hh = swap_gates(data.get("bias_hh"));
        Floats biases = bias_ih;
        for (int i = 0; i < 2 * data.size; ++i) biases[i] += bias_hh[i];
        biases.insert(biases.end(), bias_hh.end() - data.size, bias_hh.end());
        return biases;
    }

    // Those of both biases: of r and z they are the same.
    static Floats bias_gradients(Floats gradients) {
        const auto size = gradients.size() / BIASES;
        const Floats bias_ih = swap_gates(Floats(gradients.begin(), gradients.end() - size));
        Floats both = bias_ih;
        both.insert(both.end(), bias_ih.begin(), bias_ih.end() - size);
        both.insert(both.end(), gradients.end() - size, gradients.end());
        return both;
    }
};

struct OneDnnLstm {
    using Forward = dnnl::lstm_forward;
    using Backward = dnnl::lstm_backward;
    static constexpr int GATES = 4, BIASES = 4;

    static Forward::desc forward(dnnl::prop_kind kind, const Shapes& s) {
        return {kind, DIRECTION, s.rows, s.state, s.state, s.weights, s.weights, s.bias, s.rows, NONE, NONE};
    }

    static Backward::desc backward(const Shapes& s) {
        return {dnnl::prop_kind::backward, DIRECTION, s.rows, s.state, s.state, s.weights, s.weights, s.bias, s.rows,
                NONE, NONE, s.rows, s.state, s.state, s.weights, s.weights, s.bias, s.rows, NONE, NONE};
    }

    static Floats swap_gates(Floats values) { return values; }
    static Floats biases(const Data& data) { return data.bias(); }
    static Floats bias_gradients(Floats gradients) { return gradients; }
};

// One layer, all steps in one primitive.
template <class Cell>
struct OneDnnForward : Candidate {
    // Sequences as the files have them; weights too, and as the primitive chooses. One layer and one direction are
    // dimensions too.
    const memory::desc batch_first, out_in;
    Shapes shapes;
    typename Cell::Forward forward;
    std::unordered_map<int, memory> forward_arguments;

    OneDnnForward(const Data& data, int steps, int batch) : OneDnnForward(data.size, steps, batch) {
        shapes.state = NONE;
        make_forward(data, dnnl::prop_kind::forward_inference);
    }

    void run() override {
        forward.execute(stream, forward_arguments);
        stream.wait();
    }

    Floats result() override {
        run();
        return values_of(forward_arguments[DNNL_ARG_DST_LAYER], batch_first);
    }

protected:
    OneDnnForward(int size, int steps, int batch)
        : batch_first(description({steps, batch, size}, Layout::ntc)),
          out_in(description({1, 1, size, Cell::GATES, size}, Layout::ldgoi)),
          shapes{description({steps, batch, size}, Layout::tnc), description({1, 1, batch, size}, Layout::ldnc),
                 description({1, 1, size, Cell::GATES, size}, Layout::any),
                 description({1, 1, Cell::BIASES, size}, Layout::ldgo)} {}

    typename Cell::Forward::primitive_desc make_forward(const Data& data, dnnl::prop_kind kind) {
        const typename Cell::Forward::primitive_desc choice(Cell::forward(kind, shapes), processor);
        forward = typename Cell::Forward(choice);
        forward_arguments[DNNL_ARG_SRC_LAYER] = load(data.get("x"), batch_first, shapes.rows);
        load_weights(data, forward_arguments, choice);
        forward_arguments[DNNL_ARG_BIAS] = load(Cell::biases(data), shapes.bias, shapes.bias);
        forward_arguments[DNNL_ARG_DST_LAYER] = zeros(shapes.rows);
        return choice;
    }

    template <class Choice>
    void load_weights(const Data& data, std::unordered_map<int, memory>& arguments, const Choice& choice) {
        const auto load_gates = [&](const char* name, const memory::desc& wanted) {
            return load(Cell::swap_gates(data.get(name)), out_in, wanted);
        };
        arguments[DNNL_ARG_WEIGHTS_LAYER] = load_gates("weight_ih", choice.weights_layer_desc());
        arguments[DNNL_ARG_WEIGHTS_ITER] = load_gates("weight_hh", choice.weights_iter_desc());
    }
};

template <class Cell>
struct OneDnnTraining : OneDnnForward<Cell> {
    using OneDnnForward<Cell>::forward, OneDnnForward<Cell>::forward_arguments, OneDnnForward<Cell>::shapes;
    using OneDnnForward<Cell>::batch_first, OneDnnForward<Cell>::out_in;
    static constexpr bool HAS_C = std::is_same_v<Cell, OneDnnLstm>;

    typename Cell::Backward backward;
    std::unordered_map<int, memory> backward_arguments;

    explicit OneDnnTraining(const Data& data) : OneDnnForward<Cell>(data.size, STEPS, BATCH) {
        const auto forward_choice = this->make_forward(data, dnnl::prop_kind::forward_training);
        forward_arguments[DNNL_ARG_SRC_ITER] = zeros(shapes.state);
        if (HAS_C) forward_arguments[DNNL_ARG_SRC_ITER_C] = zeros(shapes.state);
        forward_arguments[DNNL_ARG_WORKSPACE] = zeros(forward_choice.workspace_desc());

        const typename Cell::Backward::primitive_desc choice(Cell::backward(shapes), processor, forward_choice);
        backward = typename Cell::Backward(choice);
        backward_arguments = forward_arguments;
        // It likes other layouts of the weights than the forward does, so it has its own copies.
        this->load_weights(data, backward_arguments, choice);
        backward_arguments[DNNL_ARG_DIFF_DST_LAYER] = load(data.get("d_output"), batch_first, shapes.rows);
        backward_arguments[DNNL_ARG_DIFF_SRC_LAYER] = zeros(shapes.rows);
        backward_arguments[DNNL_ARG_DIFF_SRC_ITER] = zeros(shapes.state);
        if (HAS_C) backward_arguments[DNNL_ARG_DIFF_SRC_ITER_C] = zeros(shapes.state);
        backward_arguments[DNNL_ARG_DIFF_WEIGHTS_LAYER] = zeros(choice.diff_weights_layer_desc());
        backward_arguments[DNNL_ARG_DIFF_WEIGHTS_ITER] = zeros(choice.diff_weights_iter_desc());
        backward_arguments[DNNL_ARG_DIFF_BIAS] = zeros(shapes.bias);
    }

    void run() override {
        forward.execute(stream, forward_arguments);
        // To these three gradients oneDNN adds; it sets the others.
        for (int sum : {DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER, DNNL_ARG_DIFF_BIAS}) {
            set_zero(backward_arguments[sum]);
        }
        backward.execute(stream, backward_arguments);
        stream.wait();
    }

    Floats result() override {
        Floats result = OneDnnForward<Cell>::result();
        append(result, Cell::swap_gates(gradient(DNNL_ARG_DIFF_WEIGHTS_LAYER, out_in)));
        append(result, Cell::swap_gates(gradient(DNNL_ARG_DIFF_WEIGHTS_ITER, out_in)));
        append(result, Cell::bias_gradients(gradient(DNNL_ARG_DIFF_BIAS, shapes.bias)));
        append(result, gradient(DNNL_ARG_DIFF_SRC_LAYER, batch_first));
        append(result, gradient(DNNL_ARG_DIFF_SRC_ITER, shapes.state));
        if (HAS_C) append(result, gradient(DNNL_ARG_DIFF_SRC_ITER_C, shapes.state));
        return result;
    }

private:
    Floats gradient(int argument, const memory::desc& file) { return values_of(backward_arguments[argument], file); }
};

template <class Cell>
std::unique_ptr<Candidate> onednn(const Data& data) {
    if (data.kind == "forward") return std::make_unique<OneDnnForward<Cell>>(data, STEPS, BATCH);
    if (data.kind == "sequence") return std::make_unique<OneDnnForward<Cell>>(data, LONG_STEPS, 1);
    if (data.kind == "training") return std::make_unique<OneDnnTraining<Cell>>(data);
    return nullptr;
}

// ---------------------------------------------------------------------------------------------------- the talk

void say_failed(const std::string& name, std::string reason) {
    std::replace_if(reason.begin(), reason.end(), [](unsigned char letter) { return std::iscntrl(letter); }, ' ');
    std::cout << "failed\t" << name << "\t" << reason << '\n';
}

std::unique_ptr<Candidate> candidate_for(const Data& data) {
    const bool single_steps = data.kind == "step";
    if (data.cell == "tanh") return single_steps ? eigen_steps<EigenTanh>(data) : onednn<OneDnnTanh>(data);
    if (data.cell == "gru") return single_steps ? eigen_steps<EigenGru>(data) : onednn<OneDnnGru>(data);
    if (data.cell == "lstm") return single_steps ? eigen_steps<EigenLstm>(data) : onednn<OneDnnLstm>(data);
    return nullptr;
}

// Makes the candidate for a work: each kind has one at most.
void open_work(std::unique_ptr<Candidate>& candidate, const std::string& directory, const std::string& work) {
    candidate.reset();
    const Data data(directory, work);
    const std::string name = data.kind == "step" ? "Eigen" : "oneDNN";
    try {
        candidate = candidate_for(data);
        if (candidate) std::cout << "candidate\t" << name << '\n';
    } catch (const std::exception& error) {
        say_failed(name, error.what());
    }
    std::cout << "end\n";
}

void say_result(Candidate& candidate, const std::string& directory) {
    const Floats result = candidate.result();
    std::ofstream file(directory + "/result-" + std::to_string(getpid()) + ".f32", std::ios::binary);
    file.write(reinterpret_cast<const char*>(result.data()), result.size() * sizeof(float));
    if (!file.flush()) throw std::runtime_error("the result could not be written");
    std::cout << "done\n";
}

// The shortest of the runs in some time, at least one, in seconds.
void say_shortest(Candidate& candidate, int milliseconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now(), end = start + std::chrono::milliseconds(milliseconds);
    Clock::duration best = Clock::duration::max();
    do {
        const auto run_start = Clock::now();
        candidate.run();
        best = std::min(best, Clock::now() - run_start);
    } while (Clock::now() < end);
    std::cout << "seconds\t" << std::chrono::duration<double>(best).count() << '\n';
}

int main(int count, char** arguments) {
    if (count != 3) {
        const dnnl_version_t& version = *dnnl_version();
        std::cout << "cpp_peers THREADS DIRECTORY, with Eigen " << EIGEN_WORLD_VERSION << '.' << EIGEN_MAJOR_VERSION
                  << '.' << EIGEN_MINOR_VERSION << " and oneDNN " << version.major << '.' << version.minor << '.'
                  << version.patch << '\n';
        return count == 2 && arguments[1] == std::string("--version") ? 0 : 2;
    }
    omp_set_num_threads(std::stoi(arguments[1]));
    const std::string directory = arguments[2];
    std::unique_ptr<Candidate> candidate;
    for (std::string line; std::getline(std::cin, line); std::cout.flush()) {
        std::istringstream fields(line);
        std::string action, name, milliseconds;
        std::getline(std::getline(std::getline(fields, action, '\t'), name, '\t'), milliseconds);
        try {
            if (action == "open") {
                open_work(candidate, directory, name);
            } else if (!candidate) {
                say_failed(name, "there is none");
            } else if (action == "result") {
                say_result(*candidate, directory);
            } else {
                say_shortest(*candidate, std::stoi(milliseconds));
            }
        } catch (const std::exception& error) {
            say_failed(name, error.what());
        }
    }
}
