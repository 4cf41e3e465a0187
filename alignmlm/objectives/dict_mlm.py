"""Dictionary MLM: a share of the masked dictionary tokens is translated to another language.

Two variants: the model sees the translation and predicts the original (princeton-nlp/align-mlm),
or sees <mask> and predicts the translation (Chaudhary et al., 2020, arXiv:2010.12566).
"""

from alignmlm.data.masking import Corruption
from alignmlm.objectives.mlm import mlm
from alignmlm.objectives.objective import Objective

DICT_MLM = Objective(
    corruption=lambda config: Corruption(dictionary=config.dictionary, predict=config.predict),
    loss=mlm,
    language_embeddings=True,
)
