//! A model with what its file says about it.

use crate::common::{normal, values};
use mfm_core::interpolant::{LatentScale, Linear, WithLatent};
use mfm_core::reward::{ByDifferentiation, Reward, RewardFormula};
use mfm_core::{Condition, Error, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::{ConditionError, Coordinates, DitConfig, FileError, MlpConfig, Model, ModelConfig, ModelHeader, SavedModel};

type F32 = CpuTensor<f32>;

fn saved(config: ModelConfig) -> std::result::Result<SavedModel<F32>, FileError> {
    let model = Model::new(&CpuDevice::new(), &config, &[], &Noise::new(1))?;
    let mut header = ModelHeader::new(ModelConfig::mlp(MlpConfig::new(9)), Shape::new(&[2])?);
    header.coordinates = Coordinates::new(vec![100.0, -3.0], vec![10.0, 0.5])?;
    SavedModel::new(model, header)
}

fn labelled() -> ModelConfig {
    ModelConfig::mlp(MlpConfig { width: 3, depth: 1, labels: 2, ..MlpConfig::new(2) })
}

struct First;

impl RewardFormula for First {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        x.slice(1, 0, 1)?.sum_items()
    }
}

#[test]
fn numbers_cross_in_the_units_of_the_data() {
    let (device, saved) = (CpuDevice::<f32>::new(), saved(labelled()).unwrap());
    assert_eq!((saved.dimension(), saved.path.name()), (2, "linear"));
    let states = saved.states(&[110.0, -3.5, 95.0, -2.0], &device).unwrap();
    assert_eq!((values(&states), states.shape().axes()), (vec![1.0, -1.0, -0.5, 2.0], &[2, 2][..]));
    assert_eq!(saved.rows(&states).unwrap(), [110.0, -3.5, 95.0, -2.0]);
    assert_eq!(values(&saved.reward(ByDifferentiation(First)).value(&states).unwrap()), [110.0, 95.0]);
    assert_eq!(saved.rows(&saved.states::<f32>(&[], &device).unwrap()).unwrap(), [0.0; 0]);
    let odd: F32 = normal(&device, 1, &[1, 3]);
    // Also where nothing passes through coordinates.
    for coordinates in [saved.header.coordinates.clone(), Coordinates::default()] {
        let header = ModelHeader { coordinates, ..saved.header.clone() };
        let saved = SavedModel::new(saved.model.clone(), header).unwrap();
        assert!(matches!(saved.states(&[1.0_f32; 3], &device), Err(Error::Length { expected: 4, found: 3, .. })));
        assert!(matches!(saved.rows(&odd), Err(Error::Length { expected: 4, found: 3, .. })));
    }
}

#[test]
fn it_comes_back_from_the_disk() {
    let (device, folder) = (CpuDevice::<f32>::new(), tempfile::tempdir().unwrap());
    let (path, saved) = (folder.path().join("model.mfm"), saved(labelled()).unwrap());
    saved.save(&path).unwrap();
    let back = SavedModel::<F32>::load(&path, &device).unwrap();
    // The header that was given had another form.
    assert_eq!((&back.header, &back.header.model), (&saved.header, &labelled()));
    let x: F32 = normal(&device, 4, &[3, 2]);
    let of = |saved: &SavedModel<F32>| values(&saved.flow(Condition::labels(&[1])).unwrap().posterior(&x, 0.3, &x).unwrap());
    assert_eq!(of(&back), of(&saved));
    assert!(matches!(SavedModel::<F32>::load(folder.path().join("none"), &device), Err(FileError::Io { .. })));
}

#[test]
fn what_is_wrong_with_a_file_names_it() {
    let (device, folder) = (CpuDevice::<f32>::new(), tempfile::tempdir().unwrap());
    let (path, saved) = (folder.path().join("model.mfm"), saved(labelled()).unwrap());
    saved.save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = SavedModel::<F32>::load(&path, &device).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.ends_with("is corrupt: its checksum is wrong") && error.to_string() == format!("{}: {why}", path.display()), "{error}");
}

#[test]
fn what_is_guided_already_takes_no_scale() {
    let mut saved = saved(labelled()).unwrap();
    let condition = Condition::new(Some(&[1]), Some(&[2.0]));
    assert!(saved.flow(condition).is_ok());
    saved.header.guided_by = Some(2.0);
    let refused = saved.flow(condition).unwrap_err();
    assert_eq!(refused.to_string(), "guidance 2: the model is guided by 2 already, and takes no other scale");
    assert!(saved.flow(Condition::labels(&[1])).is_ok());
}

#[test]
fn labels_and_scales_that_it_does_not_know() {
    let complaint = |config: ModelConfig, condition: Condition<'_>| saved(config).unwrap().flow(condition).unwrap_err();
    let [two, none] =
        [complaint(labelled(), Condition::labels(&[1, 2])), complaint(ModelConfig::mlp(MlpConfig::new(2)), Condition::labels(&[0]))];
    assert_eq!(two, ConditionError::UnknownLabel { label: 2, labels: 2 });
    assert_eq!(
        (two.of("m.mfm"), none.of("m.mfm")),
        ("label 2: m.mfm knows the labels 0 to 1".into(), "label 0: m.mfm knows no labels".into())
    );
    let told = DitConfig { labels: 2, guidance: vec![1.0, 2.5], ..DitConfig::custom([8, 1, 2], 2, 1, 1) };
    let refused = complaint(ModelConfig::dit(told), Condition::new(Some(&[1]), Some(&[2.5, 3.0])));
    assert_eq!(refused.to_string(), "guidance 3: the model knows the scales 1, 2.5");
}

#[test]
fn its_path_is_one_that_files_know() {
    let path = WithLatent { path: Linear, latent: LatentScale(0.5) };
    assert!(matches!(saved(labelled().on_path(&path)), Err(FileError::Path { .. })));
}
