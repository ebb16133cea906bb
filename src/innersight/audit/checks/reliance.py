"""What a class depends on."""

from innersight.audit.checks import Report, checks
from innersight.audit.finding import Finding
from innersight.audit.statements import covered, finding, looked
from innersight.audit.subject import Subject
from innersight.audit.tested import EFFECT, required, tested


@checks.register(
    "Reliance",
    order=20,
    use="What makes it this class?",
    limits="What is spread over the whole image, or counts only together with something else, is not found.",
)
def reliance(subject: Subject) -> Report:
    """Parts of the image that the network takes for a class: pasted into other images they turn them into it.

    Candidates are clusters of the evidence for a class (activation times gradient at the layer that heatmaps are read
    from). Each is pasted into images of other classes and removed from its own, beside controls of the same size.
    """
    required(subject)
    every = tested(subject)
    shortcuts = [one for one in every if one.reason]
    found: list[Finding] = []
    for one in every:
        plain = one.spread is not None and not one.reason
        if plain and one.turns and one.effect >= EFFECT and not covered(one, shortcuts):
            found.append(finding(subject, one, "reliance"))
    return Report(found, looked(subject, every))
