"""Every code that a finding can have; `docs/data-gates.md` says what each means."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What holds for all findings of a code."""

    gate: str
    """Whose it is."""
    why: str
    """What it is likely to cost, where a finding does not say so itself."""
    fixed: bool = False
    """No waiver helps: the sweep could not run."""


CODES: Mapping[str, Code] = {
    # splits
    "split_overlap": Code("splits", "Scores of these items show memory, not skill."),
    "near_split_overlap": Code("splits", "Scores of these items may show memory, not skill."),
    "replay_overlap": Code("splits", "Forgetting looks smaller than it is."),
    "near_replay_overlap": Code("splits", "Forgetting may look smaller than it is."),
    "duplicate_items": Code("splits", "Intervals come out too narrow."),
    # conformance
    "field_missing": Code("conformance", "What is told by this field is told of a part only."),
    "field_type": Code("conformance", "Rows that say it in another way count as something else."),
    "field_format": Code("conformance", "Rows that say it in another way count as something else."),
    "field_value": Code("conformance", "Rows that say it in another way count as something else."),
    "field_length": Code("conformance", "Such values are often cut, or rows run together."),
    "answer_type": Code("conformance", "The model learns to write what no program can read."),
    "answer_format": Code("conformance", "The model learns to write what no program can read."),
    "answer_value": Code("conformance", "The model learns to answer what is not an answer."),
    "answer_length": Code(
        "conformance", "The model learns answers of a length that is not wanted."
    ),
    "question_length": Code("conformance", "Rows unlike those in use take up the budget."),
    "unknown_label": Code("conformance", "The model learns to answer what is not an answer."),
    "missing_entity": Code("conformance", "The model learns to leave out what is needed."),
    "style": Code("conformance", "Answers in mixed styles are learnt as mixed."),
    "source_undeclared": Code("conformance", "Whether its rows may be used is not known."),
    # near_duplicates
    "duplicate_rows": Code(
        "near_duplicates", "They weigh more than others, and are learnt by heart first."
    ),
    "near_duplicate_rows": Code(
        "near_duplicates", "They weigh more than others; the set is smaller than it seems."
    ),
    "near_duplicate_items": Code("near_duplicates", "Intervals come out too narrow."),
    "shared_rows": Code("near_duplicates", "What one source adds cannot be told from the other."),
    "near_shared_rows": Code(
        "near_duplicates", "What one source adds cannot be told from the other."
    ),
    # leakage
    "leaked_items": Code("leakage", "Scores of these items show memory, not skill."),
    "partly_leaked_items": Code("leakage", "Scores of these items may show memory, not skill."),
    "replay_leaked_items": Code("leakage", "Forgetting looks smaller than it is."),
    "replay_partly_leaked_items": Code("leakage", "Forgetting may look smaller than it is."),
    # diversity
    "one_template": Code("diversity", "The model learns the template and fails on other words."),
    "diversity": Code("diversity", "Nothing by itself: it tells how much there is to learn."),
    # labels
    "label_in_prompt": Code("label_leakage", "The model learns to copy, and fails on other rows."),
    "label_in_field": Code(
        "label_leakage", "What goes with the field may be learnt instead of the task."
    ),
    "label_conflicts": Code("label_errors", "No model can be right on both, and training pulls."),
    "label_conflicts_across": Code(
        "label_errors", "What is learnt from the one is scored as wrong by the other, or unlearnt."
    ),
    "probable_label_errors": Code(
        "label_errors", "Wrong rows are learnt; wrong items count against the better model."
    ),
    "labels_unlike_task": Code("source_labels", "Its rows teach the task other answers."),
    "labels_by_annotator": Code("annotators", "The model learns a mixture of two rules."),
    "labels_by_month": Code("annotators", "The model learns a rule that no longer holds."),
    "conflicts_by_annotator": Code("annotators", "Their rows contradict those of the others."),
    "annotator_agreement": Code(
        "annotators", "No model can be more right than the people who labelled agree."
    ),
    "label_balance": Code("balance", "Rare labels are hardly learnt, and a mean hides it."),
    "rare_label_in_test": Code("balance", "Whether the label is recognised stays unknown."),
    "rare_group_in_test": Code("balance", "How the group fares stays unknown."),
    "group_label_association": Code("balance", "The model may go by the group, not by the case."),
    "term_label_association": Code("balance", "The model may go by the word, not by the case."),
    "coverage_label": Code("coverage", "Scores are of another mixture of labels."),
    "coverage_group": Code("coverage", "Scores are of another mixture of groups."),
    "coverage_length": Code("coverage", "Scores are of shorter or longer questions."),
    "coverage_origin": Code("coverage", "Scores are of rows of another origin."),
    "coverage_opening": Code("coverage", "Scores are of questions of another form."),
    "far_from_items": Code("distance", "What is learnt may not be what is scored."),
    "distance_from_items": Code("distance", "Nothing by itself: what is far helps less, or not."),
    "noise_floor": Code("noise_floor", "Smaller true differences stay unresolved."),
    # suites
    "few_items": Code("suites", "Small true differences stay unresolved."),
    "long_answers": Code("suites", "A metric that is nearly always 0 tells no models apart."),
    "forgetting_not_measured": Code("suites", "What a model loses stays unknown."),
    "small_slices": Code("slices", "Figures of such values cannot be told from chance."),
    "no_groups": Code("groups", "The setting does nothing, and trials are spent on it."),
    # question
    "one_seed": Code("question", "Luck of a seed cannot be told from a better setting."),
    "cost_not_measured": Code("question", "The decision cannot weigh cost."),
    # lengths
    "answers_cut": Code("lengths", "The model learns to stop in the middle."),
    "prompts_cut": Code("lengths", "The model learns to answer without having read the question."),
    "beyond_context": Code("lengths", "Beyond its positions a model computes nonsense."),
    "no_room_for_prompts": Code("lengths", "The base could not answer.", fixed=True),
    "repeated_rows": Code("repeats", "Tokens are spent on rows that teach little any more."),
    # what rows say
    "personal_data": Code("personal_data", "A model can be brought to tell what it was shown."),
    "secrets_in_rows": Code("personal_data", "A model can be brought to tell what it was shown."),
    "empty_rows": Code("quality", "The model learns to say nothing."),
    "answers_repeat_prompts": Code("quality", "The model learns to repeat what it is asked."),
    "broken_characters": Code("quality", "The model learns to write broken characters."),
    "broken_markup": Code("quality", "The model learns to write what no program can read."),
    "boilerplate_rows": Code("quality", "The model learns phrases that nobody asked for."),
    "looping_rows": Code("quality", "The model learns to loop."),
    "cut_off_rows": Code("quality", "The model learns to stop in the middle."),
    "very_long_rows": Code("quality", "Few rows take up much of the budget."),
    "very_short_rows": Code("quality", "Such rows are often remains of others."),
    "shared_answers": Code("quality", "The model learns one answer to all questions."),
    "wrong_language": Code("language", "The model may answer in another language than asked."),
    "spelling": Code("spelling", "Errors in answers are learnt as they are."),
    "synthetic_rows": Code("synthetic", "Nothing by itself: too many make answers alike."),
    "synthetic_evaluation": Code("synthetic", "Scores tell how well a generator is copied."),
    "deep_generations": Code("synthetic", "What is rare is lost from generation to generation."),
    "unreviewed_synthetic": Code("synthetic", "Errors of the generator are learnt unseen."),
    "dates": Code("age", "Nothing by itself: a model does not know what came later."),
    "old_rows": Code("age", "The model learns how things were."),
    "age_unknown": Code("age", "The limit of the specification is not checked."),
    "future_dates": Code("age", "Dates are wrong, or read wrongly."),
    "evaluation_older": Code("age", "Scores are of what was, and may flatter."),
    # lineage
    "unchanged_copies": Code("lineage", "Augmentation adds less than was asked for."),
    "parent_is_item": Code("lineage", "Such rows would show the model the items."),
    "parent_unknown": Code("lineage", "Whether such rows show the model the items is not known."),
    # resources
    "resources_not_checked": Code("resources", "Whether trials fit is known at the start only."),
    "too_few_resources": Code("resources", "No trial could start.", fixed=True),
    "needs_gpu": Code("resources", "Every trial of this method would fail.", fixed=True),
    "needs_package": Code("resources", "Every trial of this method would fail.", fixed=True),
    # `sweep check --against`
    "drift_label": Code("drift", "Scores are of another mixture of labels than is met now."),
    "drift_group": Code("drift", "Scores are of another mixture of groups than is met now."),
    "drift_length": Code("drift", "Scores are of shorter or longer questions than are met now."),
    "drift_opening": Code("drift", "Scores are of questions of another form than is met now."),
    "drift_field": Code("drift", "Scores are of another mixture of rows than is met now."),
    "drift_new_labels": Code("drift", "The model cannot give a label that it was never shown."),
    "drift_texts": Code("drift", "Scores may be of other questions than are met now."),
    "drift_words": Code("drift", "What such rows are about may never have been learnt."),
    "drift_trained_on": Code("drift", "Scores on these rows show memory, not skill."),
    "drift_known_items": Code("drift", "They are no new items; the model was chosen by some."),
    "drift_dates": Code("drift", "Nothing by itself: it tells what is compared with what."),
    "unused_waiver": Code("waivers", "It would hide a finding that comes later."),
}


def refuse_unknown(key: str) -> None:
    """For `CODE` or `CODE@PLACE` of a waiver.

    Raises:
        ValueError: No finding has this code, or no waiver helps.
    """
    code, _, _ = key.partition("@")
    if code not in CODES:
        (near,) = difflib.get_close_matches(code, CODES, n=1, cutoff=0)
        raise ValueError(
            f"no finding has the code '{code}', the nearest is '{near}' (all: docs/data-gates.md)"
        )
    if CODES[code].fixed:
        raise ValueError(f"'{code}' cannot be waived: {CODES[code].why}")
