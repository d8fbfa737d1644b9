"""The LSTM policy of RecurrentPPO, as sb3-contrib has it, with sequences computed whole."""

from typing import Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from agents.ppo_config import RecurrentConfig


class LstmPolicy(RecurrentActorCriticPolicy):
    """An LSTM policy whose sequences run through the LSTM in one call.

    sb3-contrib's own steps through them one by one as soon as an episode starts anywhere in the batch. It need not: its
    buffer cuts sequences where episodes start, so that there is a start in front of a sequence and nowhere else.
    """

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: torch.nn.LSTM,
    ) -> tuple[torch.Tensor, Any]:
        """Return (outputs, new (h, c)) of sequences that lie one after the other.

        Args:
            features: (sequences * length, n), padded to the longest sequence.
            lstm_states: h and c before the sequences, (1, sequences, lstm_size).
            episode_starts: (sequences * length,), 1 where an episode starts.
            lstm: The LSTM.
        """
        count = lstm_states[0].shape[1]
        sequences = features.reshape((count, -1, lstm.input_size)).swapaxes(0, 1)
        starts = (episode_starts.reshape((count, -1))[:, 0] > 0).view(1, count, 1)
        # Not multiplied: what is no number is forgotten too.
        h, c = (torch.where(starts, torch.zeros(()), state) for state in lstm_states)
        outputs, states = lstm(sequences, (h, c))
        return torch.flatten(outputs.transpose(0, 1), start_dim=0, end_dim=1), states


def lstm_arguments(config: RecurrentConfig) -> dict[str, Any]:
    """Return the arguments of `LstmPolicy` that an MLP policy has not.

    A value function with an LSTM of its own, or a share in the policy's, learned far slower where it was tried.
    """
    return {"lstm_hidden_size": config.lstm_size, "enable_critic_lstm": False}
