"""Translation language modelling: MLM, with a share of the rows showing a text in two languages.

What is masked in one half can be read off the other. Source: Conneau and Lample, 2019
(arXiv:1901.07291), section 3.3.
"""

from alignmlm.data.masking import Corruption
from alignmlm.objectives.mlm import mlm
from alignmlm.objectives.objective import Objective

TLM = Objective(
    corruption=lambda config: Corruption(translation_rows=config.translation_rows),
    loss=mlm,
    language_embeddings=True,
)
