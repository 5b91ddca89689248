"""A small lexicon of our own, for use without the published tables. Its figures are comparable with nothing published.

Everyday words of feeling, sorted by us into seven groups with two or three branches each.
"""

from __future__ import annotations

from affectkit.labels.wheels import Tables

NAME = "affectkit's own small lexicon: NOT comparable with published figures"
_LEXICON = {
    "happy": {
        "happy": "happiness happily glad joy joyful joyous cheerful delighted delight pleased pleasure amused merry",
        "excited": "excitement thrilled enthusiastic enthusiasm eager energetic elated",
        "content": "contentment calm calmness relaxed peaceful satisfied satisfaction grateful gratitude relieved relief "
        "hopeful proud pride",
    },
    "sad": {
        "sad": "sadness sadly unhappy sorrow sorrowful depressed gloomy grief tearful crying heartbroken melancholy",
        "disappointed": "disappointment dissatisfied regret regretful discouraged",
        "lonely": "loneliness hurt abandoned helpless hopeless",
    },
    "angry": {
        "angry": "anger angrily mad furious fury rage outraged",
        "annoyed": "annoyance irritated irritation frustrated frustration impatient impatience resentful",
    },
    "afraid": {
        "afraid": "fear fearful scared frightened terrified terror panic horrified",
        "worried": "worry anxious anxiety nervous nervousness concerned concern uneasy tense stressed",
    },
    "surprised": {
        "surprised": "surprise astonished astonishment amazed amazement shocked shock stunned",
        "confused": "confusion puzzled bewildered perplexed",
    },
    "disgusted": {
        "disgusted": "disgust revolted repulsed",
        "contempt": "contemptuous disdain scornful sarcastic",
    },
    "ashamed": {
        "ashamed": "shame embarrassed embarrassment humiliated",
        "guilty": "guilt remorse remorseful",
    },
}


def own() -> Tables:
    """One wheel of seven groups. Every word is a base word; its branch stands for its synonym."""
    words, rings = {}, {"W1-L1": {}, "W1-L2": {}}  # type: ignore[var-annotated]
    for group, branches in _LEXICON.items():
        for branch, listed in branches.items():
            for word in (branch, *listed.split()):
                words[word] = [branch]
                rings["W1-L1"][branch] = group
                rings["W1-L2"][branch] = branch
    return Tables(NAME, False, {w: [w] for w in words}, words, rings)
