"""Sentiment from labels: a small lexicon of our own, or a language model's second pass."""

from __future__ import annotations

import re
from collections.abc import Sequence

VALUES = {"positive": 1, "negative": -1, "neutral": 0}
LEXICON = "affectkit's own small lexicon of polarity: NOT comparable with published figures"
_POSITIVE = """
admiration admiring affection affectionate amazed amazement amused amusement appreciative at-ease awe awed blissful
brave bright calm calmness caring cheer cheerful cheerfulness comfort comfortable comforted compassionate composed
confidence confident content contented contentment courageous curiosity curious delight delighted determined eager
eagerness ecstatic elated elation encouraged encouraging energetic enjoyment enthusiasm enthusiastic euphoric excited
excitement expectant fond fondness friendly fulfilled fun glad gladness good grateful gratitude great happily
happiness happy hope hopeful hopefulness humorous inspiration inspired interest interested intrigued joy joyful
joyfulness joyous kind laughing lively love loved loving merry moved optimism optimistic passionate peace peaceful
playful pleasant pleased pleasure polite positive praise pride proud reassured reassuring relaxation relaxed relief
relieved respectful romantic safe satisfaction satisfied serene serenity sincere smiling supportive sympathetic tender
tenderness thankful thankfulness thoughtful thrilled tranquil triumphant trust trusting warm warmth welcoming
"""
_NEGATIVE = """
abandoned accusing afraid aggravated aggressive agitated agitation alarmed alienated anger angrily angry anguish
anguished annoyance annoyed anxiety anxious anxiousness apathetic apprehension apprehensive argumentative ashamed
aversion awkward awkwardness bad betrayed bitter bitterness blame blaming bored boredom bothered cold complaining
concern concerned condescending conflicted contempt contemptuous cowardly critical crying cynical defeated defensive
dejected depressed depression despair desperate desperation despondent disappointed disappointment disapproval
disapproving discomfort discontent discontented discouraged disdain disdainful disgust disgusted disheartened dismay
dismayed dismissive displeased displeasure dissatisfaction dissatisfied distress distressed distrust distrustful
disturbed doubt doubtful dread dreadful embarrassed embarrassment envious envy exasperated exasperation exhausted
fatigue fatigued fear fearful fearfulness frantic frightened frustrated frustration furious fury gloom gloomy grief
grievance grieving grumpy guilt guilty hate hateful hatred heartbroken helpless helplessness hesitant homesick
hopeless hopelessness horrified horror hostile hostility humiliated humiliation hurt hysterical impatience impatient
indignant indignation inferior insecure insulted irritable irritated irritation jealous jealousy loneliness lonely
lost mad melancholic melancholy miserable misery mistrustful mocking mournful nasty negative nervous nervousness
offended oppressed outraged overwhelmed pain pained painful panic panicked pessimistic pity powerless pressured
provoked rage regret regretful rejected reluctant remorse remorseful repulsed resentful resentment resigned restless
revolted ridicule sad sadly sadness sarcastic scared scornful self-blame shame shocked sick sorrow sorrowful sour
stern strained stress stressed sulky suspicious tearful tense tension terrible terrified terror threatened tired
torment tormented troubled uncertain uncomfortable unease uneasiness uneasy unhappiness unhappy unpleasant unsafe
unsatisfied upset vengeful victimized vulnerable weary worn-out worried worry worrying worthless
"""
_NEITHER = """
astonished astonishment attentive bewildered composure confused confusion contemplative earnest emotionless
expressionless flat focused formal indifference indifferent neutral normal nostalgic pensive perplexed puzzled serious
solemn stunned surprise surprised thinking
"""
POLARITY = {
    **dict.fromkeys(_POSITIVE.split(), 1),
    **dict.fromkeys(_NEGATIVE.split(), -1),
    **dict.fromkeys(_NEITHER.split(), 0),
}
"""A word to 1, -1 or 0, as we see it. Words that are not here say nothing."""
_TURNS = {"not", "no", "never", "without", "less", "lack", "lacking", "non"}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


def polarity(label: str) -> int | None:
    """1, -1 or 0 for a label by our lexicon, None where it has no word of it; `not happy` is the contrary of happy."""
    words = _WORD.findall(label.lower())
    whole = POLARITY.get("-".join(words))
    if whole is not None:
        return whole
    sign, found = 1, []
    for word in words:
        if word in _TURNS:
            sign = -1
        elif word in POLARITY:
            found.append(sign * POLARITY[word])
            sign = 1
    return None if not found else (sum(found) > 0) - (sum(found) < 0)


def of_labels(labels: Sequence[str]) -> str | None:
    """`positive`, `negative` or `neutral` by our lexicon: the sign of the sum of the labels' polarities, neutral where they
    balance; None where it knows none of them."""
    known = [p for p in map(polarity, labels) if p is not None]
    if not known:
        return None
    total = sum(known)
    return "positive" if total > 0 else "negative" if total < 0 else "neutral"
