"""What runs in which dtype under autocast: PyTorch's lists of operations, for each kind of device."""

from __future__ import annotations

LOWER, FLOAT32, PROMOTE, REFUSED = "lower", "float32", "promote", "refused"
STATE = "state"  # of recurrent layers

_CONVOLUTIONS = "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d"
_PRODUCTS = "addbmm addmm baddbmm bmm linalg_vecdot linear matmul mm prelu scaled_dot_product_attention"
_LOSSES = """binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss huber_loss kl_div l1_loss
    margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss nll_loss2d poisson_nll_loss
    smooth_l1_loss soft_margin_loss triplet_margin_loss"""

_CPU = {
    LOWER: f"{_CONVOLUTIONS} {_PRODUCTS} mkldnn_rnn_layer",
    FLOAT32: f"""{_LOSSES} adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy cdist cholesky
        cholesky_inverse cholesky_solve cross_entropy_loss ctc_loss fake_quantize_per_tensor_affine fft_fft fft_fft2
        fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2
        fft_rfftn fractional_max_pool2d fractional_max_pool3d geqrf grid_sampler grid_sampler_2d grid_sampler_3d inverse
        linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh
        linalg_householder_product linalg_inv linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr linalg_solve
        linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve lu_solve max_pool3d max_unpool2d max_unpool3d
        multilabel_margin_loss_forward nanquantile orgqr ormqr pinverse polar prod qr quantile reflection_pad1d
        reflection_pad2d replication_pad1d replication_pad2d replication_pad3d stft svd trace triangular_solve
        view_as_complex""",
    PROMOTE: "cat index_copy stack",
}

_CUDA = {
    LOWER: f"""{_CONVOLUTIONS} {_PRODUCTS} addmv addr chain_matmul convolution cudnn_convolution
        cudnn_convolution_transpose einsum gru_cell linalg_multi_dot lstm_cell mv rnn_relu_cell rnn_tanh_cell""",
    FLOAT32: f"""{_LOSSES} acos asin cdist cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 frobenius_norm
        group_norm layer_norm linalg_matrix_norm linalg_vector_norm log log10 log1p log2 log_softmax logsumexp
        native_layer_norm norm nuclear_norm pdist pow prod reciprocal renorm rms_norm rsqrt sinh softmax softplus sum
        tan upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
        upsample_nearest3d upsample_trilinear3d""",
    PROMOTE: "addcdiv addcmul atan2 bilinear cross dot grid_sampler index_put scatter_add tensordot vdot",
    REFUSED: "binary_cross_entropy",
}

# What PyTorch makes of several operations, by what comes out of them. STATE: products in the lower dtype, which meet a
# layer's state, h or c, in the state's.
_MADE_OF_SEVERAL = {
    "cpu": {
        LOWER: "affine_grid lstm rnn rnn_relu_cell rnn_tanh_cell",
        FLOAT32: "linear_cross_entropy lp_pool3d local_response_norm_of_images",
        PROMOTE: "cosine_similarity multilabel_soft_margin_loss pairwise_distance",
        STATE: "gru gru_cell lstm_cell lstm_packed lstm_projected",
    },
    "cuda": {
        LOWER: "affine_grid gru lstm lstm_packed lstm_projected rnn",
        FLOAT32: """cross_entropy_loss gaussian_nll_loss linear_cross_entropy local_response_norm
            local_response_norm_of_images lp_pool1d lp_pool2d lp_pool3d multilabel_soft_margin_loss normalize
            pairwise_distance""",
    },
}

# For each kind of device: operation -> its list. The lists' own names are there for primitives that PyTorch has not.
LISTS: dict[str, dict[str, str]] = {
    device: {LOWER: LOWER, FLOAT32: FLOAT32, PROMOTE: PROMOTE}
    | {operation: kind for kinds in lists for kind, operations in kinds.items() for operation in operations.split()}
    for device, lists in {"cpu": (_CPU, _MADE_OF_SEVERAL["cpu"]), "cuda": (_CUDA, _MADE_OF_SEVERAL["cuda"])}.items()
}
NAMED = frozenset(operation for lists in LISTS.values() for operation in lists) - {LOWER, FLOAT32, PROMOTE}

# PyTorch's functions of another name than their operation's.
OTHER_NAMES = {
    **{"rmatmul": "matmul", "rpow": "pow", "square": "pow", "rtruediv": "reciprocal", "rdiv": "reciprocal"},
    **{"arccos": "acos", "arcsin": "asin", "arctan2": "atan2", "softmin": "softmax", "vecdot": "linalg_vecdot"},
    **{"concat": "cat", "concatenate": "cat", "cross_entropy": "cross_entropy_loss", "grid_sample": "grid_sampler"},
    "linalg_cross": "cross",
}
