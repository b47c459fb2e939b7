//! What is refused before a classifier is trained.

use dream_schema::{Image, OutlierKind, RunId, Table};

use super::recipe::Beside;
use super::{Detect, NAME};
use crate::stage::training;
use crate::stage::{
    Asked, ImageSource, Known, Refusals, Role, StageError, StateSource, embed, imagine, import, sample,
    select,
};
use crate::store::{Readable, Store};

pub(super) fn check(store: &Store, asked: &Asked<Detect>, refusals: &mut Refusals) -> Result<(), StageError> {
    let (params, training) = (&asked.params, asked.params.effective());
    training.check(refusals);
    if let Some(recipe) = &params.outlier {
        recipe.method.regularizer().check(&training, refusals);
        if let Some(tune) = &recipe.fine_tune {
            let pace = (tune.epochs, tune.batch_size, tune.lr);
            training::check_pace("outlier.fine_tune", pace, refusals);
        }
    }
    let images = refusals
        .take(Role::Images, asked.source::<ImageSource>(&Role::Images))?
        .flatten();
    if let Some(images) = &images {
        training.check_set(images, !asked.is_answered(store), refusals);
        let least = params
            .outlier
            .as_ref()
            .map_or(0, |recipe| recipe.method.regularizer().least_images());
        if least > 0 && !asked.is_answered(store) {
            training.check_least(images, least, refusals);
        }
    }
    let weights = refusals
        .take(Role::Initial, asked.source::<StateSource>(&Role::Initial))?
        .flatten();
    training.check_head(weights.is_some(), refusals);
    // A finished run is answered without its weights.
    if let Some(weights) = weights.as_ref().filter(|_| !asked.is_answered(store)) {
        let outputs = images.as_ref().map(|images| images.classes().len());
        let outputs = outputs.filter(|count| *count > 0);
        training::check_initial(weights, &training, outputs, refusals)?;
    }
    let fine_tunes = params.outlier.as_ref().is_some_and(|o| o.fine_tune.is_some());
    if fine_tunes && weights.is_none() {
        let known = asked.known(store, &Role::Initial, &[NAME], refusals)?;
        if let (Some(known), Some(images)) = (known, &images) {
            check_classes(store, &known, images, &Role::Initial, refusals)?;
        }
    } else {
        check_unused(asked, &Role::Initial, refusals);
    }
    let beside = params.outlier.as_ref().and_then(|recipe| recipe.method.beside());
    for role in [Role::Outliers, Role::Inliers] {
        match beside.as_ref().filter(|beside| beside.role == role) {
            Some(beside) => check_pictures(store, asked, beside, images.as_ref(), refusals)?,
            None => check_unused(asked, &role, refusals),
        }
    }
    Ok(())
}

/// Refuses a run that nothing is done with.
fn check_unused(asked: &Asked<Detect>, role: &Role, refusals: &mut Refusals) {
    if asked.input(role).is_some() {
        let found = format!("a run is given as {role}, but the parameters have no use for it");
        refusals.refuse(role, found);
    }
}

/// Refuses what is no run of pictures, pictures of other classes, and fewer than a step takes.
fn check_pictures(
    store: &Store,
    asked: &Asked<Detect>,
    beside: &Beside,
    images: Option<&ImageSource>,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let role = &beside.role;
    let stages = [imagine::NAME, select::NAME, import::NAME];
    let given = asked.known(store, role, &stages, refusals)?;
    let given = given.filter(|known| import::require(known, Table::Images, role, refusals));
    let Some(given) = given else { return Ok(()) };
    let known = select::known_behind(store, &given)?;
    if *role == Role::Inliers {
        check_inliers(store, &known, refusals)?;
    }
    if let Some(images) = images {
        check_imagined(store, &known, images, role, refusals)?;
        if let (true, Some(run)) = (beside.labelled, known.run) {
            check_labels(store, run, images, role, refusals)?;
        }
    }
    let count = match given.run {
        Some(run) if given.stage == select::NAME => select::chosen(store, run)?.len() as u64,
        Some(run) => store.count(run, Table::Images)?,
        None => {
            let params: imagine::Params = known.params()?;
            let all = images.map_or(0, |images| images.classes().len());
            let chosen = [params.classes.len(), all];
            let classes = chosen.into_iter().find(|count| *count > 0);
            classes.map_or(u64::MAX, |classes| (classes * params.per_class) as u64)
        }
    };
    // A run that is there was made when fewer were taken.
    if count < beside.batch_size as u64 && !asked.is_answered(store) {
        let found = format!("{count} pictures do not fill one batch of {}", beside.batch_size);
        refusals.require(
            false,
            &role.to_string(),
            found,
            "more, or a smaller outlier.batch_size",
        );
    }
    Ok(())
}

/// Refuses pictures of what is in no class: imagined from outliers, or from words of none of the classes.
fn check_inliers(store: &Store, known: &Known, refusals: &mut Refusals) -> Result<(), StageError> {
    if known.stage != imagine::NAME {
        return Ok(());
    }
    let params: imagine::Params = known.params()?;
    let mut found = matches!(params.synthesis, Some(imagine::Synthesis::Disjoint { .. }))
        .then(|| "pictures of words of none of the classes".to_owned());
    if let Some(vectors) = known.input(&Role::Outliers) {
        let vectors = vectors.known(store, &Role::Outliers, &[sample::NAME, import::NAME])?;
        if vectors.stage == sample::NAME {
            let kind = vectors.params::<sample::Params>()?.kind();
            let outlying = kind != OutlierKind::Inlier;
            found = outlying
                .then(|| format!("pictures imagined from vectors of the kind `{kind}`"))
                .or(found);
        }
    }
    if let Some(found) = found {
        let expected = "pictures imagined from inliers, or of the plain prompts";
        refusals.require(false, &Role::Inliers.to_string(), found, expected);
    }
    Ok(())
}

/// Refuses a set whose classes are not those of the classifier that is `known`.
pub(in crate::stage) fn check_classes(
    store: &Store,
    known: &Known,
    set: &ImageSource,
    role: &Role,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(own) = refusals.take(role, known.source::<ImageSource>(store, &Role::Images))? else {
        return Ok(());
    };
    // What is not registered yet may not know its classes, and one that numbers them may be named by the
    // other.
    if !own.classes().is_empty() && !own.may_have_classes(set.classes()) {
        refusals.take(role, set.check_classes(own.classes(), "the classifier"))?;
    }
    Ok(())
}

/// Refuses pictures whose classes, by number and name, are not those of the set.
fn check_labels(
    store: &Store,
    run: RunId,
    images: &ImageSource,
    role: &Role,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    // A set that is not registered may not know its classes yet.
    let wanted = Some(images.classes()).filter(|classes| !classes.is_empty());
    for class in store.parts(run, Table::Images)? {
        let first = store.indices(run, Table::Images, class)?;
        let Some(first) = first.first().copied() else {
            continue;
        };
        let Some(row) = store.row::<Image>(run, class, first)? else {
            continue;
        };
        let own = wanted.map(|classes| classes.get(class as usize));
        if let Some(own) = own
            && own != Some(&row.class_name)
        {
            let (name, found) = (&row.class_name, own.map_or("none", String::as_str));
            let found = format!("class {class} is `{name}` among the pictures and `{found}` in the set");
            refusals.require(false, &role.to_string(), found, "pictures of the set's classes");
            break;
        }
    }
    Ok(())
}

/// Refuses a set whose classes are not those that the pictures were imagined of.
fn check_imagined(
    store: &Store,
    known: &Known,
    set: &ImageSource,
    role: &Role,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(embeddings) = known.input(&Role::Embeddings) else {
        return Ok(());
    };
    let embeddings = embeddings.known(store, &Role::Embeddings, embed::STAGES)?;
    let classes = embed::classes(store, &embeddings)?;
    let names: Vec<String> = classes.into_iter().map(|class| class.class_name).collect();
    refusals.take(role, set.check_classes(&names, &format!("the {role}")))?;
    Ok(())
}
