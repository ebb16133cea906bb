"""Study: what `study` returns, a folder that shows itself in several hosts and goes to other tools."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from innersight.call import public
from innersight.model import Model
from innersight.storage.annotations import Annotation, read_annotations, tags_of, write_annotation
from innersight.storage.stamp import shown
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder, parsed
from innersight.storage.writing import naming, quiet_writers
from innersight.study.completing import cut_examples
from innersight.study.content import content_of
from innersight.study.documents import rendered, write_documents
from innersight.study.exports import exports
from innersight.study.hosts import hosts


@dataclass(frozen=True)
class Study:
    """A study on disk.

    Parameters
    ----------
    folder
        Where it is.
    computed, reused
        Number of items that the last run computed, and that it found finished.
    skipped
        One sentence for each file that could not be read.
    notes
        How the images and their labels were understood, and what else a reader must know.
    warnings
        What of the input contract seems wrong, see `innersight.input_warnings`.

    """

    folder: Path
    computed: int = 0
    reused: int = 0
    skipped: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Open a study made before, without the model or the images.

        Parameters
        ----------
        folder
            Where it is.

        Raises
        ------
        InnersightError
            Where there is no study in the folder, or a link in it.

        """
        return cls(Store.open(folder).folder)

    @property
    def annotations(self) -> dict[str, Annotation]:
        """Names, tags and notes of units, concepts and images, by address.

        Raises
        ------
        InnersightError
            Where there is no study, or one that innersight did not write.

        """
        return read_annotations(StudyFolder.open(self.folder))

    def annotate(
        self, address: str, *, name: str | None = None, tags: Sequence[str] | None = None, note: str | None = None
    ) -> Annotation:
        """Name a unit, a concept or an image, tag it, and write a note about it.

        Parameters
        ----------
        address
            Of a unit or concept, `layer:unit`; of an image its id ("p0") or name.
        name
            At most 60 characters, shown beside the address wherever it stands; None leaves it as it is, "" removes it.
        tags
            At most 12 of at most 30 characters, without commas; None leaves them as they are.
        note
            At most 2000 characters of plain text; None leaves it as it is.

        Returns
        -------
        Annotation
            As it is kept now.

        Raises
        ------
        InnersightError
            For an address that the study does not have, for a text that is too long or not plain, and on a read-only
            medium.

        Examples
        --------
        >>> import tempfile
        >>> import innersight as ins
        >>> from innersight.study import Plan
        >>> from innersight.toons import draw
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plan = Plan(layers=("stem",), units=0)
        ...     made = ins.study(ins.load("small:8"), [draw("ambra", 1).pixels], folder, plan=plan)
        ...     _ = made.annotate("stem:3", name="edges", tags=["low level"])
        ...     made.annotations["stem:3"].name
        'edges'

        """
        inside = StudyFolder.open(self.folder)
        if not shown(inside):
            self.render()
        about = parsed(inside.read("web", "documents", "study.json"), self.folder)
        address = next((image["id"] for image in about["images"] if image["name"] == address), address)
        before = read_annotations(inside).get(address, Annotation(address))
        wanted = Annotation(
            address,
            before.name if name is None else name.strip(),
            before.tags if tags is None else tags_of(tags),
            before.note if note is None else note.strip(),
        )
        return write_annotation(inside, wanted, about)

    def render(self) -> Path:
        """Write the documents and sheets of the front end from the stored values; return their folder."""
        return write_documents(Store.open(self.folder))

    @public()
    def report(self, out: str | Path, *, units: Sequence[str] = (), images: Sequence[str] = ()) -> Path:
        """Write the study as one HTML file that opens offline.

        Parameters
        ----------
        out
            File to write. Beyond 25 MB a folder `NAME_parts` beside it holds the rest.
        units
            Addresses of the units to show, such as "stage1:3" or "stage1:0-7"; all when neither units nor images are
            given. Where a data set was scanned into the study, the examples of units that lack them are cut out first;
            the report says why where that cannot be done.
        images
            Ids or names of the images to show; all when empty.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InnersightError
            For units and images that the study does not have, and for a study of another version.

        """
        lacking = cut_examples(self.folder, units) if units else None
        with rendered(Store.open(self.folder)) as where:
            hosts["report"](self.folder, where, Path(out), units, images, {"examples": lacking} if lacking else {})
        return Path(out)

    def view(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        model: Model | None = None,
        images: Sequence[str | Path] = (),
    ) -> None:
        """Serve the study until interrupted, and open it in the browser.

        Parameters
        ----------
        host
            Address to listen on. Where others can reach it, they need the token in the address that is printed.
        port
            0 takes any free one.
        model
            What computes more; needed where the study's network was given in Python.
        images
            Files and folders where the study's images are found. Needed, as the model is, for a study that this user
            did not make on this machine.

        Raises
        ------
        InnersightError
            Where the port is taken.

        """
        with rendered(Store.open(self.folder)) as where:
            hosts["view"](self.folder, where, host, port, model, tuple(map(str, images)))

    def export(self, to: str, out: str | Path, *, images: Sequence[str | Path] = ()) -> Path:
        """Write the study for another tool.

        Parameters
        ----------
        to
            Name of an export: "tensorboard", "wandb", "trackio" or "fiftyone".
        out
            Folder to write.
        images
            Files and folders where the study's images are found, for an export that names their files ("fiftyone").
            Needed for a study that this user did not make on this machine.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        InnersightError
            For an unknown name.
        MissingExtraError
            Without the tool's library.
        WriteError
            Where the folder cannot be written.

        """
        export_study(self.folder, to, Path(out), images)
        return Path(out)

    def to_tensorboard(self, logdir: str | Path) -> Path:
        """Write contact sheets, curves, histograms and the projector for `tensorboard --logdir LOGDIR`; see `export`.

        Parameters
        ----------
        logdir
            Folder to write.

        """
        return self.export("tensorboard", logdir)

    def to_wandb(self, out: str | Path) -> Path:
        """Write a Weights & Biases run into a folder, offline unless WANDB_MODE says otherwise; see `export`.

        Parameters
        ----------
        out
            Folder to write.

        """
        return self.export("wandb", out)

    def to_trackio(self, out: str | Path) -> Path:
        """Write a Trackio run into a folder; see `export`.

        Parameters
        ----------
        out
            Folder to write.

        """
        return self.export("trackio", out)

    def to_fiftyone(self, out: str | Path, *, images: Sequence[str | Path] = ()) -> Path:
        """Write the images of the study and its scan as a FiftyOne data set; see `export`.

        Parameters
        ----------
        out
            Folder to write, the `dataset_dir` of FiftyOne's `Dataset.from_dir`. Its `metadata.json` says which images
            were left out.
        images
            See `export`.

        """
        return self.export("fiftyone", out, images=images)

    def _repr_html_(self) -> str:
        with rendered(Store.open(self.folder)) as shown:
            return str(hosts["notebook"](self.folder, shown))


def export_study(folder: Path, to: str, out: Path, images: Sequence[str | Path] = ()) -> tuple[str, ...]:
    """Write a study for another tool as `Study.export` does; return what was left out, one sentence for each kind."""
    make, content = exports[to], content_of(Store.open(folder), tuple(map(str, images)))
    with naming(out), quiet_writers():
        return make(content, out)
