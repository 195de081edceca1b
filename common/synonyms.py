"""Names that users of the field know things by, and what they are called here.

Looked up when a name is unknown, to name the right one; none of them is accepted, so that every
setting has one name in configs and results.
"""

from collections.abc import Iterable

# Field, or flag -> what other programs call it: the last part of a dotted name.
FIELDS = {
    "optimizer.learning_rate": "lr max_lr peak_lr base_lr step_size",
    "optimizer.final_share": "min_lr final_lr lr_min min_lr_ratio",
    "optimizer.warmup_steps": "warmup warmup_iters num_warmup_steps warmup_ratio",
    "optimizer.schedule": "lr_schedule lr_scheduler lr_scheduler_type lr_decay_style scheduler",
    "optimizer.schedule_steps": "lr_decay_steps lr_decay_iters decay_steps",
    "optimizer.name": "optim optimizer optimizer_name opt",
    "optimizer.l2": "weight_decay wd decay",
    "optimizer.clip_norm": "grad_clip gradient_clip max_grad_norm clip_grad gradient_clipping clip",
    "optimizer.adamw.beta1": "adam_beta1 b1 betas adam_betas",
    "optimizer.adamw.beta2": "adam_beta2 b2 betas adam_betas",
    "optimizer.adamw.epsilon": "eps adam_eps adam_epsilon",
    "phase.tokens_per_step": (
        "batch_size global_batch_size train_batch_size per_device_batch_size "
        "per_device_train_batch_size micro_batch_size batch_tokens tokens_per_batch bs batch"
    ),
    "phase.microbatches": (
        "batch_size global_batch_size train_batch_size per_device_batch_size "
        "per_device_train_batch_size micro_batch_size batch_tokens tokens_per_batch bs batch "
        "gradient_accumulation_steps grad_accum accumulation_steps accumulate_grad"
    ),
    "phase.steps": (
        "max_steps num_steps train_steps training_steps total_steps iters max_iters "
        "train_iters iterations num_iterations max_train_steps epochs num_epochs "
        "num_train_epochs max_epochs train_tokens tokens max_tokens_trained total_tokens"
    ),
    "phase.layout.largest_bucket": (
        "seq_len seq_length sequence_length max_seq_len max_seq_length max_length "
        "max_sequence_length context_length context_len block_size n_ctx ctx_len context "
        "context_size max_position_embeddings l_train train_length max_len n_positions "
        "max_target_length"
    ),
    "eval.lengths": (
        "seq_len seq_length sequence_length max_seq_len max_seq_length max_length "
        "max_sequence_length context_length context_len block_size n_ctx ctx_len context "
        "context_size max_position_embeddings l_train train_length max_len n_positions "
        "max_target_length"
    ),
    "phase.layout.smallest_bucket": "min_seq_len min_length min_len",
    "phase.layout.name": "packing pack pack_sequences",
    "model.layers": "num_layers n_layers n_layer num_hidden_layers depth nlayers blocks",
    "model.embed_dim": "hidden_size d_model n_embd dim hidden_dim width embedding_dim emb_dim",
    "model.num_heads": "n_heads n_head heads num_attention_heads",
    "model.num_kv_heads": "n_kv_heads kv_heads num_key_value_heads num_query_groups",
    "model.head_dim": "d_head head_size dim_head kv_channels",
    "model.mlp_dim": "intermediate_size ffn_dim d_ff ffn_hidden_size mlp_ratio feedforward_dim",
    "model.dropout": "dropout_rate hidden_dropout attention_dropout attn_pdrop resid_pdrop",
    "model.compute_dtype": "dtype precision bf16 fp16 mixed_precision torch_dtype param_dtype",
    "model.attention": (
        "attn_implementation attention_impl flash_attention use_flash_attention flash"
    ),
    "model.remat": "gradient_checkpointing activation_checkpointing remat_policy recompute",
    "model.tie_embeddings": "tie_word_embeddings weight_tying tied",
    "model.positions.scheme": (
        "position_embedding position_embedding_type pos_emb position_encoding "
        "positional_encoding positional_embedding positions"
    ),
    "model.positions.rope.theta": "rope_theta rope_base rotary_base base",
    "model.positions.rope.rotary_share": "rotary_pct partial_rotary_factor rotary_percent rope_pct",
    "phase.rope_scaling.kind": "rope_type rope_scaling_type",
    "phase.rope_scaling.factor": "rope_factor scaling_factor",
    "model.rope_scaling.kind": "rope_type rope_scaling_type rope_parameters",
    "model.rope_scaling.original_length": "original_max_position_embeddings",
    "model.rope_scaling.low_turns": "beta_slow low_freq_factor",
    "model.rope_scaling.high_turns": "beta_fast high_freq_factor",
    "model.logit_softcap": "logits_soft_cap final_logit_softcapping logit_cap",
    "model.attention_softcap": "attn_logit_softcapping attn_softcap soft_cap",
    "seed": "random_seed rng_seed manual_seed",
    "data.path": (
        "dataset dataset_name dataset_path data_path data_dir train_file input_file corpus "
        "file files text_file"
    ),
    "data.source": (
        "dataset dataset_name dataset_path data_path data_dir train_file input_file corpus "
        "file files text_file dataset_config_name hf_dataset"
    ),
    "data.tfds_name": "dataset_config_name hf_dataset",
    "data.field": "text_column text_field column text_key",
    "data.tokenizer": "tokenizer_name tokenizer_path vocab_file tokenizer_name_or_path vocab_size",
    "data.end_of_text_token": "eos eos_token eod eos_token_id",
    "data.selection_share": "validation_split val_split val_fraction eval_split test_size",
    "data.report_share": "validation_split val_split val_fraction eval_split test_size",
    "data.workers": "num_workers dataloader_num_workers num_proc",
    "train.reader_threads": "num_workers dataloader_num_workers num_proc",
    "--workdir": (
        "output_dir out_dir save_dir run_dir log_dir checkpoint_dir logdir resume "
        "resume_from_checkpoint load resume_from"
    ),
    "train.checkpoint_every": "save_steps save_every save_interval checkpoint_interval ckpt_every",
    "train.eval_every": "eval_steps eval_interval evaluation_steps val_every eval_freq",
    "train.log_every": "logging_steps log_interval log_freq log_steps",
    "train.init_from": (
        "resume resume_from_checkpoint load resume_from finetune pretrained "
        "model_name_or_path init_checkpoint load_weights"
    ),
    "stopping.patience": "early_stopping early_stopping_patience",
    "generate.max_tokens": "max_new_tokens max_gen_len max_tokens_generated",
    "generate.samples": "num_samples num_return_sequences",
    "data.task.samples": "num_samples num_return_sequences",
    "mesh.tensor": "tp tensor_parallel tensor_parallel_size model_parallel",
    "mesh.slices": "dp data_parallel fsdp dcn",
    "phase.curriculum.name": "curriculum curriculum_type",
    "eval.shots": "num_fewshot n_shot fewshot",
    "optimizer.z_loss": "z_loss_weight z_loss_coef aux_loss",
    "data.task.name": "task task_name",
    "eval.tasks": "task task_name",
}

# A choice -> what other programs call it.
CHOICES = {
    "none": "nope no_pos no off false null",
    "off": "nope no_pos no off false null",
    "rope": "rotary rope_neox ropes",
    "learned": "absolute learnt ape gpt2",
    "sinusoidal": "absolute learnt ape gpt2 sin sincos sine fixed",
    "t5": "relative t5_bias rpe",
    "adamw": "adam adam_w adamw_torch adamw_hf",
    "wsd": "warmup_stable_decay trapezoidal",
    "cosine": "cos cosine_with_warmup cosine_decay",
    "constant": "const constant_with_warmup",
    "bfloat16": "bf16 bfloat",
    "float32": "fp32 f32 float single",
    "auto": "flash flash_attention_2 sdpa flash_attention",
    "splash": "flash flash_attention_2 sdpa flash_attention",
    "dense": "eager naive math xla reference",
    "decompose": "dd dataset_decomposition decomposition",
    "concat_and_chunk": "concat chunk concatenate packed_chunks",
    "pack": "packing packed best_fit",
    "pad": "padding padded_rows",
    "window": "skyladder sliding local",
    "bytes": "byte utf8 utf_8 char",
    "jsonl": "json jsonlines ndjson jsonl.gz",
    "text": "txt file files plain",
    "parquet": "pq arrow huggingface hf",
    "array_record": "arrayrecord riegeli grain",
    "tfds": "tensorflow_datasets",
    "linear": "pi interpolation position_interpolation",
    "ntk": "ntk_aware dynamic_ntk",
    "dynamic": "ntk_aware dynamic_ntk",
    "longrope": "longrope2 su",
    "lambda": "lm_infinite streaming_llm sink",
    "passkey": "passkey_retrieval pass_key",
    "sliding_window": "sliding local",
    "last": "latest newest final",
}


def field_synonyms(name: str) -> list[str]:
    """Fields that another program calls `name`, dotted or not."""
    return _called(FIELDS, name.rpartition(".")[2])


def called_here(value: str, choices: Iterable[str]) -> str:
    """For an error: what an unknown value is called among the choices; empty: nothing is known."""
    known = [each for each in choices if _plain(each) == _plain(value)]
    known = known or [each for each in _called(CHOICES, value) if each in set(choices)]
    return f" (here it is called {' or '.join(map(repr, known))})" if known else ""


def _called(names: dict[str, str], synonym: str) -> list[str]:
    return [ours for ours, theirs in names.items() if _plain(synonym) in theirs.split()]


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
