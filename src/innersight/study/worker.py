"""The process that computes for a server: requests come in as lines of JSON, progress goes out.

    python -P -m innersight.study.worker STUDY [MODEL [IMAGES...]]

MODEL may be empty. With -P the folder it is started in is not searched for modules: that may be a study's.

Each line in is a request. Lines out: `{"share": 0.4, "what": "activations of stage1"}` while at work,
`{"document": KEY}` for each document written anew, `{"edited": ..}` for a request of the kind "edit", and at the end of
each request `{"done": true}` or `{"error": SENTENCE}`. To stop it, end the process: what is finished is kept.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources import load
from innersight.storage.permit import Permit
from innersight.storage.study_folder import StudyFolder
from innersight.study.compute import compute, opened
from innersight.study.editing import StudyEdits
from innersight.study.panel import parse_request
from innersight.study.panels.edit import EDIT, EditRequest


def main(folder: str, source: str = "", *images: str) -> None:
    """Answer requests until the input ends."""
    # Ctrl-C in the terminal is for the server, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not get among the lines.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(**line: Any) -> None:
        lines.write(json.dumps(line) + "\n")
        lines.flush()

    model: Model | None = None
    sessions: StudyEdits | None = None
    for text in sys.stdin:
        try:
            if model is None:
                send(share=0.0, what="opening the network")
                model = load(source) if source else opened(Permit(StudyFolder.open(folder)))
                sessions = StudyEdits(Path(folder), model, images)
            data = json.loads(text)
            if data["kind"] == EDIT:
                assert sessions is not None
                send(edited=sessions.edited(EditRequest(**data)).model_dump())
                send(done=True)
                continue
            request = parse_request(data)
            progress = _progress(send)
            for document in compute(Path(folder), request, model=model, images=images, progress=progress):
                send(document=document)
            send(done=True)
        except InnersightError as error:
            # The study may have been made again with another network.
            model = None
            send(error=str(error))


def _progress(send: Any) -> Any:
    return lambda share, what: send(share=share, what=what)


if __name__ == "__main__":
    main(*sys.argv[1:])
