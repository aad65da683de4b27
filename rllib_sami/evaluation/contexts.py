"""What contexts represent: projections, and measures that do not depend on them.

Contexts of different encoders cannot be compared, so everything here is for the episodes of one run.
Notation: ``N`` episodes, ``M`` kept steps, ``D`` context dimensions, ``F`` task factors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.manifold import TSNE
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rllib_sami.evaluation.results import Results, task_columns

NEIGHBOURS = 5
MAX_CLUSTERS = 8
PROBE_EPISODES = 4  # per context dimension, at least, for a linear probe


def final_contexts(values: np.ndarray) -> np.ndarray:
    """Returns the last kept context of each episode, ``[N, D]``, of ``values`` ``[N, M, D]`` with NaN after the end."""
    kept = ~np.isnan(values).all(axis=2)  # [N, M]
    last = values.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
    return values[np.arange(len(values)), last]


def of_run(results: Results, run: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the episodes of one run and their contexts ``[N, M, D]``, without dimensions that its encoder lacks.

    Raises:
        ValueError: The results hold no contexts of that run.
    """
    mine = _has_context(results) & (results.episodes["run"] == run).to_numpy()
    if results.contexts is None or not mine.any():
        raise ValueError(f"run={run!r}: the results hold no contexts of it.")
    values = results.contexts.values[mine]
    dimensions = ~np.isnan(values).all(axis=(0, 1))
    return results.episodes[mine].reset_index(drop=True), values[:, :, dimensions]


def runs_with_contexts(results: Results) -> list[str]:
    """Returns the runs whose contexts were kept, in the episodes' order."""
    return list(dict.fromkeys(results.episodes["run"][_has_context(results)]))


def _has_context(results: Results) -> np.ndarray:
    """Returns which episodes have contexts of their own encoder."""
    learned = (results.episodes["context"] == "learned").to_numpy()
    if results.contexts is None:
        return np.zeros_like(learned)
    return learned & ~np.isnan(results.contexts.values).all(axis=(1, 2))


def task_labels(episodes: pd.DataFrame) -> pd.Series:
    """Returns split and number of each episode's task, such as ``"train 0"``."""
    return episodes["split"].astype(str) + " " + episodes["task_id"].astype(str)


def project(values: np.ndarray, method: str = "pca", seed: int = 0) -> tuple[np.ndarray, str]:
    """Projects contexts onto a plane.

    Args:
        values: ``[N, D]``, N of at least 3.
        method: ``"pca"`` (linear, deterministic) or ``"tsne"`` (preserves neighbourhoods, not distances).
        seed: Seed of t-SNE.

    Returns:
        ``[N, 2]``, and the meaning of the axes.

    Raises:
        ValueError: There are too few contexts, or the method is unknown.
    """
    if len(values) < 3:
        raise ValueError(f"{len(values)} contexts cannot be drawn on a plane: expected at least 3.")
    if method == "pca":
        pca = PCA(n_components=min(2, values.shape[1]))
        points = pca.fit_transform(values)
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
        shares = " and ".join(f"{share:.0%}" for share in np.nan_to_num(pca.explained_variance_ratio_))
        return points, f"PCA, {shares} of the variance"
    if method == "tsne" and not np.ptp(values, axis=0).any():  # by whose distances t-SNE would divide
        return np.zeros((len(values), 2)), "t-SNE, of equal contexts"
    if method == "tsne":
        perplexity = min(30.0, (len(values) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca" if values.shape[1] > 1 else "random", random_state=seed)
        return tsne.fit_transform(values), f"t-SNE, perplexity {perplexity:.0f}, seed {seed}"
    raise ValueError(f"method={method!r}: expected 'pca' or 'tsne'.")


def silhouette(values: np.ndarray, labels: pd.Series) -> float:
    """Returns the silhouette of the labels in [-1, 1]: 1 if contexts of a label lie apart from all others.

    NaN if it is not defined: it needs two labels, and more contexts than labels.
    """
    if not 2 <= labels.nunique() < len(labels):
        return float("nan")
    return float(silhouette_score(values, labels.astype(str)))


def neighbour_accuracy(values: np.ndarray, labels: pd.Series) -> float:
    """Returns the leave-one-out accuracy of a nearest-neighbour classifier.

    It has 5 neighbours, or fewer if a label has fewer: else the majority would be wrong even in perfect clusters.
    NaN with a single label, or if a label occurs only once.
    """
    others = labels.value_counts().min() - 1
    if labels.nunique() < 2 or others < 1:
        return float("nan")
    codes = pd.factorize(labels)[0]
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, others)).fit(values).kneighbors(return_distance=False)
    votes = np.eye(codes.max() + 1)[codes[nearest]].sum(axis=1)
    return float((votes.argmax(axis=1) == codes).mean())


def chance_accuracy(labels: pd.Series) -> float:
    """Returns the accuracy of always predicting the most frequent label."""
    return float(labels.value_counts(normalize=True).max())


def probe_factors(values: np.ndarray, episodes: pd.DataFrame) -> dict[str, float]:
    """Predicts each true task factor linearly from the context.

    Folds hold out whole task values, not single episodes, if there are three or more of them: a probe that has seen the
    task itself would only show that tasks differ.

    Args:
        values: ``[N, D]``.
        episodes: With ``task_<key>`` columns, ``[N]``.

    Returns:
        R² by factor (1 perfect, 0 no better than the mean, negative worse) of the factors that vary; empty with fewer
        than 4 episodes per dimension.
    """
    if len(values) < PROBE_EPISODES * values.shape[1]:
        return {}
    factors = {name.removeprefix("task_"): episodes[name].to_numpy(float) for name in task_columns(episodes)}
    known = {name: truth for name, truth in factors.items() if len(np.unique(truth)) > 1 and not np.isnan(truth).any()}
    if not known:
        return {}
    groups = pd.factorize(pd.MultiIndex.from_arrays(list(known.values())))[0]
    folds = min(5, len(values))
    cv = GroupKFold(min(5, groups.max() + 1)) if groups.max() >= 2 else KFold(folds, shuffle=True, random_state=0)
    probe = make_pipeline(StandardScaler(), LinearRegression())
    truths = np.stack(list(known.values()), axis=1)  # all at once: the folds are the same
    scores = r2_score(truths, cross_val_predict(probe, values, truths, cv=cv, groups=groups), multioutput="raw_values")
    return dict(zip(known, map(float, scores), strict=True))


def describe(results: Results) -> pd.DataFrame:
    """Measures the final contexts of every run that has any.

    Returns:
        One row per run: ``algorithm``, ``run``, ``episodes``, ``tasks``, ``dimensions``, ``silhouette`` by task,
        ``neighbour_accuracy`` and its ``chance``, ``silhouette_skill`` (NaN without skills) and ``r2_<factor>``.
    """
    rows = []
    for run in runs_with_contexts(results):
        episodes, values = of_run(results, run)
        final, tasks = final_contexts(values), task_labels(episodes)
        skilled = episodes["skill"].notna().to_numpy()
        rows.append(
            {
                "algorithm": episodes["algorithm"].iloc[0],
                "run": run,
                "episodes": len(episodes),
                "tasks": tasks.nunique(),
                "dimensions": final.shape[1],
                "silhouette": silhouette(final, tasks),
                "neighbour_accuracy": neighbour_accuracy(final, tasks),
                "chance": chance_accuracy(tasks),
                "silhouette_skill": silhouette(final[skilled], episodes["skill"][skilled]),
                **{f"r2_{name}": r2 for name, r2 in probe_factors(final, episodes).items()},
            }
        )
    return pd.DataFrame(rows)


def settling(results: Results, run: str) -> pd.DataFrame:
    """Measures how fast the context settles within the episodes of a run.

    Returns:
        One row per kept step: ``step``; ``distance``, the mean distance to the episode's final context in units of the
        mean distance between two episodes' final contexts; its ``standard_error``; ``accuracy`` of a nearest-neighbour
        classifier of the task; ``episodes`` that lasted so long. Steps that a single episode reached are left out.
    """
    episodes, values = of_run(results, run)
    assert results.contexts is not None
    final, tasks = final_contexts(values), task_labels(episodes)
    between = pdist(final).mean() if len(final) > 1 else 1.0
    rows = []
    for index, step in enumerate(results.contexts.steps):
        now = values[:, index]
        lasts = ~np.isnan(now).any(axis=1)
        if lasts.sum() < 2:
            continue
        distance = np.linalg.norm(now[lasts] - final[lasts], axis=1) / (between or 1.0)
        rows.append(
            {
                "step": int(step),
                "distance": distance.mean(),
                "standard_error": distance.std(ddof=1) / np.sqrt(lasts.sum()),
                "accuracy": neighbour_accuracy(now[lasts], tasks[lasts]),
                "episodes": int(lasts.sum()),
            }
        )
    return pd.DataFrame(rows, columns=["step", "distance", "standard_error", "accuracy", "episodes"])


def cluster(values: np.ndarray, seed: int = 0, max_clusters: int = MAX_CLUSTERS) -> tuple[np.ndarray, float]:
    """Clusters contexts ``[N, D]`` by k-means, with the number of clusters that has the highest silhouette.

    Returns:
        Cluster of each context ``[N]``, largest cluster first, and the silhouette (NaN if there is only one).
    """
    best, best_score = np.zeros(len(values), int), float("nan")
    distinct = len(np.unique(values.round(6), axis=0))
    for k in range(2, min(max_clusters, distinct - 1) + 1):
        groups = KMeans(k, n_init=5, random_state=seed).fit_predict(values)
        if len(np.unique(groups)) < 2:
            continue
        score = float(silhouette_score(values, groups))
        if not score <= best_score:
            best, best_score = groups, score
    order = np.argsort(-np.bincount(best), kind="stable")
    return np.argsort(order)[best], best_score


def clusters_of(results: Results, run: str, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """Returns a run's episodes with the columns ``cluster`` and ``distance``, and the clusters' silhouette.

    ``distance`` is that of the episode's final context to the mean of its cluster.
    """
    episodes, values = of_run(results, run)
    final = final_contexts(values)
    groups, score = cluster(final, seed)
    means = pd.DataFrame(final).groupby(groups).transform("mean").to_numpy()
    return episodes.assign(cluster=groups, distance=np.linalg.norm(final - means, axis=1)), score
